#!/usr/bin/env bash
# Breaking one sphere up into several of the same total dimension (Davidson et al. 2019), on static MNIST, Omniglot and
# Caltech 101 Silhouettes, with Welch's t-test against the single sphere and the published figures where they are known.
# From the environment: EPOCHS, WARMUP, SEEDS, DECOMPOSITIONS (words of -zd; auto:40 stands for all equal ones), SINGLE
# (the one that the others are held against), SAMPLES, HIDDEN, FIGURES, DATASETS, DATA_DIR, LOG_DIR. Arguments go to
# the sweep.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt results/product_spaces

"$PY" -m utils.sweep --by dataset,z_dims --against "z_dims=${SINGLE:-s40}" "$@" -- \
    -n productspace -zd ${DECOMPOSITIONS:-40 20,20 10,10,10,10 5,5,5,5,5,5,5,5} -rs ${SEEDS:-1 2 3} \
    -e "${EPOCHS:-500}" -klw "${WARMUP:-100}" -bs 64 -la 50 -lls "${SAMPLES:-500}" ${HIDDEN:+-hd "$HIDDEN"} -pf 10 \
    ${FIGURES:+--figures $FIGURES} \
    -d ${DATASETS:-static_mnist omniglot caltech} --data_dir "${DATA_DIR:-data}" \
    -ld "$results" \
    || stop "not all runs are complete (see above); repeat the command to continue"
