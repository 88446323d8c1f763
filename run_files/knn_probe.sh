#!/usr/bin/env bash
# Classifies embeddings of Normal and vMF VAEs of equal latent dimension from 100, 600 and 1000 labels, the experiment of
# Davidson et al. 2018 (Table 3). From the environment: EPOCHS, SEEDS, DIMENSIONS, FIGURES, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
. run_files/_runs.sh 100 mnist -klw 50 -lls 100 --probe

for seed in ${SEEDS:-1}; do
    for z in ${DIMENSIONS:-2 5 10 20 40}; do
        for name in normal vmf; do
            say "seed $seed: a $name posterior of dimension $z"
            train "knn-$name-z$z" -n "$name" -z "$z"
        done
    done
done

compare "accuracy from embeddings, in % of the test images, by number of labels"
