#!/usr/bin/env bash
# Trains VAEs with categorical (Gumbel-softmax) and vector-quantized latents of about 30 bits, both priors over the codes
# of the latter, a vector-quantized one on a map of codes, and a Normal one to compare with.
# From the environment: EPOCHS, SEEDS, FIGURES, DATASET, DATA_DIR, LOG_DIR.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
. run_files/_runs.sh 50 mnist -klw 10

for seed in ${SEEDS:-1}; do
    say "seed $seed: a Normal posterior on R^10"
    train codes-normal -n normal -z 10
    say "seed $seed: 20 variables of 10 categories, relaxed, then straight-through"
    train codes-gumbel -n gumbel --temperature_epochs 20
    train codes-gumbel-hard -n gumbel --temperature_epochs 20 --straight_through
    for prior in independent autoregressive; do
        say "seed $seed: 5 positions of 64 codes, $prior prior"
        train "codes-vq-$prior" -n vq --positions 5 --vq_prior "$prior"
    done
    say "seed $seed: a map of 64 codes from gated convolutions, autoregressive prior"
    train codes-vq-map -n vq -et cnn -dt cnn --vq_prior autoregressive
done

compare "all models on the same test images (nats per image, higher is better but for the KL; log p(x, codes) <= log p(x))"
