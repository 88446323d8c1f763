#!/usr/bin/env bash
# Table 1 of Davidson et al. 2018 (S-VAE): Normal and vMF VAEs of equal dimension on dynamically binarized MNIST, with the
# published figures beside ours. The full protocol is 10 seeds of up to 500 epochs; begin with less, and repeat with more:
#   EPOCHS=60 WARMUP=30 SEEDS=1 bash run_files/table1_svae.sh
# From the environment: EPOCHS, WARMUP, SEEDS, DIMENSIONS, SAMPLES, HIDDEN, DATASET, DATA_DIR, LOG_DIR. Arguments go to the
# sweep, such as --dry_run, --workers 2, --engine ray or --format markdown.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt results/table1_svae

"$PY" -m utils.sweep --by dataset,z,name --against name=normal "$@" -- \
    -n normal vmf -z ${DIMENSIONS:-2 5 10 20 40} -rs ${SEEDS:-1 2 3 4 5 6 7 8 9 10} -e "${EPOCHS:-500}" \
    -klw "${WARMUP:-100}" -bs 64 -la 50 -lls "${SAMPLES:-500}" ${HIDDEN:+-hd "$HIDDEN"} -pf 10 \
    -d "${DATASET:-mnist}" --data_dir "${DATA_DIR:-data}" -ld "$results" \
    || stop "not all runs are complete (see above); repeat the command to continue"
