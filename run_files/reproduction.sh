#!/usr/bin/env bash
# Writes docs/reproduction.md and its figure from the rows of runs in docs/reproduction/, in seconds. Folders with finished
# runs may be given: their rows are added first, and rows of runs that are not there stay. The runs are those of
#   bash run_files/table1_svae.sh                                # Tables 1 and 2: 100 runs of about an hour of one core
#   KAPPA_START=1.7 DIMENSIONS=40 SEEDS=1 bash run_files/table1_svae.sh
#   DATASETS=static_mnist bash run_files/product_spaces.sh
# then
#   bash run_files/reproduction.sh results/table1_svae results/product_spaces
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

"$PY" docs/make_reproduction.py "$@" || stop "the page could not be written (see above)"
