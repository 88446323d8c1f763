#!/usr/bin/env bash
# Trains vMF VAEs together with a classifier on the latent that sees 100, 1000 or all labels, and one without classifier
# whose embeddings are classified by nearest neighbours, on S^2 and S^10.
# From the environment: EPOCHS, SEEDS, LABELS, DIMENSIONS, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

epochs=${EPOCHS:-50}
dataset=${DATASET:-mnist}
out=${LOG_DIR:-results}
runs=()
train() {
    local name=$1
    shift
    "$PY" run_models.py -n vmf -z "$z" -d "$dataset" --data_dir "${DATA_DIR:-data}" -e "$epochs" -klw 10 -lls 100 -pf 10 \
        -ld "$out" -en "$name" -rs "$seed" "$@" || stop "the run $name with seed $seed failed (its message is above)"
    runs+=("$out/$dataset/$name"__s"$seed"__*/)
}
for seed in ${SEEDS:-1}; do
    for z in ${DIMENSIONS:-2 10}; do
        say "seed $seed: S^$z without a classifier, probed by nearest neighbours"
        train "classifier-z$z-none" --probe
        for labels in ${LABELS:-100 1000}; do
            say "seed $seed: S^$z with a classifier that sees $labels labels"
            train "classifier-z$z-$labels" --classifier --labels "$labels"
        done
        say "seed $seed: S^$z with a classifier that sees all labels"
        train "classifier-z$z-all" --classifier
    done
done

say "all models on the same test images; accuracy in % of them"
"$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
