#!/usr/bin/env bash
# Table 1 of Davidson et al. 2018 (S-VAE): Normal and vMF VAEs of equal dimension on dynamically binarized MNIST, with the
# published figures beside ours, and nearest neighbours on their embeddings. The full protocol is 10 seeds of up to 500
# epochs; begin with less, and repeat with more:
#   EPOCHS=60 WARMUP=30 SEEDS=1 bash run_files/table1_svae.sh
# From the environment: EPOCHS, WARMUP, SEEDS, DIMENSIONS, KAPPA_START (of the vMF models; 1.7 is the published one),
# SAMPLES, HIDDEN, FIGURES, DATASET, DATA_DIR, LOG_DIR. Arguments go to the sweep, such as --dry_run, --workers 2,
# --engine ray or --format markdown.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt results/table1_svae

models() { # as lines of a batch file, since only spheres have a concentration
    echo "python run_models.py -n normal"
    echo "python run_models.py -n vmf ${KAPPA_START:+--kappa_start $KAPPA_START}"
}

"$PY" -m utils.sweep <(models) --by dataset,z,name --against name=normal "$@" -- \
    -z ${DIMENSIONS:-2 5 10 20 40} -rs ${SEEDS:-1 2 3 4 5 6 7 8 9 10} -e "${EPOCHS:-500}" \
    -klw "${WARMUP:-100}" -bs 64 -la 50 -lls "${SAMPLES:-500}" ${HIDDEN:+-hd "$HIDDEN"} -pf 10 \
    ${FIGURES:+--figures $FIGURES} --probe \
    -d "${DATASET:-mnist}" --data_dir "${DATA_DIR:-data}" -ld "$results" \
    || stop "not all runs are complete (see above); repeat the command to continue"
