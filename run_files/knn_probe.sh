#!/usr/bin/env bash
# Classifies embeddings of Normal and vMF VAEs of equal latent dimension from 100, 600 and 1000 labels, the experiment of
# Davidson et al. 2018 (Table 3). From the environment: EPOCHS, SEEDS, DIMENSIONS, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

epochs=${EPOCHS:-100}
dataset=${DATASET:-mnist}
out=${LOG_DIR:-results}
runs=()
for seed in ${SEEDS:-1}; do
    for z in ${DIMENSIONS:-2 5 10 20 40}; do
        for name in normal vmf; do
            say "seed $seed: a $name posterior of dimension $z"
            "$PY" run_models.py -n "$name" -z "$z" -d "$dataset" --data_dir "${DATA_DIR:-data}" -e "$epochs" -klw 50 \
                -lls 100 --probe -pf 10 -ld "$out" -en "knn-$name-z$z" -rs "$seed" \
                || stop "the $name run of dimension $z with seed $seed failed (its message is above)"
            runs+=("$out/$dataset/knn-$name-z$z"__s"$seed"__*/)
        done
    done
done

say "accuracy from embeddings, in % of the test images, by number of labels"
"$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
