#!/usr/bin/env bash
# Trains vMF VAEs whose concentration is fixed at 2, 10, 50 and 100, where the KL is constant, and a Normal one of equal
# latent dimension, and compares them. From the environment: EPOCHS, SEEDS, KAPPAS, Z, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

epochs=${EPOCHS:-50}
z=${Z:-5}
dataset=${DATASET:-mnist}
out=${LOG_DIR:-results}
runs=()
train() {
    local name=$1
    shift
    "$PY" run_models.py -z "$z" -d "$dataset" --data_dir "${DATA_DIR:-data}" -e "$epochs" -klw 10 -pf 10 -ld "$out" \
        -en "$name" -rs "$seed" "$@" || stop "the run $name with seed $seed failed (its message is above)"
    runs+=("$out/$dataset/$name"__s"$seed"__*/)
}
for seed in ${SEEDS:-1}; do
    say "seed $seed: a Normal posterior on R^$z"
    train "fixed-normal-z$z" -n normal
    for kappa in ${KAPPAS:-2 10 50 100}; do
        say "seed $seed: a vMF posterior of concentration $kappa on S^$z"
        train "fixed-kappa$kappa-z$z" -n vmf --kappa "$kappa"
    done
done

say "all models on the same test images (nats per image, higher is better but for the KL)"
"$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
