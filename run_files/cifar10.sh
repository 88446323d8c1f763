#!/usr/bin/env bash
# Trains gated-convolutional VAEs on CIFAR-10: with and without biases, in small batches, under the discretized logistic
# likelihood (a log probability) and the Gaussian one (a log density, not comparable with the other).
# From the environment: EPOCHS, SEEDS, CHANNELS, FIGURES, DATASET, DATA_DIR, LOG_DIR. A GPU is advised.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
. run_files/_runs.sh 50 cifar10 -et cnn -dt cnn -hd "${CHANNELS:-64,128,256}" -klw 10 -lls 100

for seed in ${SEEDS:-1}; do
    say "seed $seed: batches of 100 with biases, then of 32 without, discretized logistic likelihood"
    train cifar-plain -n normal -z 128 -lf logistic
    train cifar-small -n normal -z 128 -lf logistic --no_bias -bs 32
    say "seed $seed: the same on a sphere, and with a map of codes"
    train cifar-vmf -n vmf -z 40 -lf logistic --no_bias -bs 32
    train cifar-vq -n vq --codes 512 --code_dim 16 -lf logistic --no_bias -bs 32 --vq_prior autoregressive
    say "seed $seed: Gaussian likelihood"
    train cifar-gaussian -n normal -z 128 -lf mse --no_bias -bs 32
done

compare "all models on the same test images (nats per image, higher is better but for the KL)"
