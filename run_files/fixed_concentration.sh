#!/usr/bin/env bash
# Trains vMF VAEs whose concentration is fixed at 2, 10, 50 and 100, where the KL is constant, and a Normal one of equal
# latent dimension, and compares them. From the environment: EPOCHS, SEEDS, KAPPAS, Z, FIGURES, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
. run_files/_runs.sh 50 mnist -z "${Z:-5}" -klw 10

for seed in ${SEEDS:-1}; do
    say "seed $seed: a Normal posterior on R^${Z:-5}"
    train "fixed-normal-z${Z:-5}" -n normal
    for kappa in ${KAPPAS:-2 10 50 100}; do
        say "seed $seed: a vMF posterior of concentration $kappa on S^${Z:-5}"
        train "fixed-kappa$kappa-z${Z:-5}" -n vmf --kappa "$kappa"
    done
done

compare "all models on the same test images (nats per image, higher is better but for the KL)"
