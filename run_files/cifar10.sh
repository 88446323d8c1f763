#!/usr/bin/env bash
# Trains gated-convolutional VAEs on CIFAR-10: with and without biases, in small batches, under the discretized logistic
# likelihood (a log probability) and the Gaussian one (a log density, not comparable with the other).
# From the environment: EPOCHS, SEEDS, CHANNELS, DATASET, DATA_DIR, LOG_DIR. A GPU is advised.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

epochs=${EPOCHS:-50}
dataset=${DATASET:-cifar10}
out=${LOG_DIR:-results}
runs=()
train() {
    local name=$1
    shift
    "$PY" run_models.py -et cnn -dt cnn -hd "${CHANNELS:-64,128,256}" -d "$dataset" --data_dir "${DATA_DIR:-data}" \
        -e "$epochs" -klw 10 -lls 100 -pf 5 -ld "$out" -en "$name" -rs "$seed" "$@" \
        || stop "the run $name with seed $seed failed (its message is above)"
    runs+=("$out/$dataset/$name"__s"$seed"__*/)
}
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

say "all models on the same test images (nats per image, higher is better but for the KL)"
"$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
