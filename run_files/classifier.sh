#!/usr/bin/env bash
# Trains vMF VAEs together with a classifier on the latent that sees 100, 1000 or all labels, and one without classifier
# whose embeddings are classified by nearest neighbours, on S^2 and S^10.
# From the environment: EPOCHS, SEEDS, LABELS, DIMENSIONS, FIGURES, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
. run_files/_runs.sh 50 mnist -n vmf -klw 10 -lls 100

for seed in ${SEEDS:-1}; do
    for z in ${DIMENSIONS:-2 10}; do
        say "seed $seed: S^$z without a classifier, probed by nearest neighbours"
        train "classifier-z$z-none" -z "$z" --probe
        for labels in ${LABELS:-100 1000}; do
            say "seed $seed: S^$z with a classifier that sees $labels labels"
            train "classifier-z$z-$labels" -z "$z" --classifier --labels "$labels"
        done
        say "seed $seed: S^$z with a classifier that sees all labels"
        train "classifier-z$z-all" -z "$z" --classifier
    done
done

compare "all models on the same test images; accuracy in % of them"
