#!/usr/bin/env bash
# Trains and scores the models of one claim of docs/seed-claims.md, and ends in a table.
# Usage: bash run_files/claims.sh concentration|classes|codes|bits|labels
# From the environment: EPOCHS, SEEDS, SCORED (samples), KAPPAS, LENGTHS (epochs to compare), DATASET, DATA_DIR, LOG_DIR.
claim=${1:-}
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt
[[ $claim == concentration ]] && usual="5 mnist" || usual="50 digits"
FIGURES=none
# shellcheck disable=SC2086  # two words
. run_files/_runs.sh $usual -lls 20 -klw 0 -v 0 --score "${SCORED:-2000}"
scores="score.agreement score.fid score.diversity score.class_diversity score.sharpness"

concentration() { # in training, and in sampling around test images
    local kappa sampled=0.1,1,4,15,100
    for kappa in ${KAPPAS:-2 4 10 50 100}; do
        train "concentration-$kappa" -n vmf -z 2 --kappa "$kappa"
        "$PY" run_models.py --from "${runs[-1]}" --data_dir "${DATA_DIR:-data}" --score "${SCORED:-1000}" \
            --kappas "$sampled" -v 0 || stop "the run with concentration $kappa could not be scored"
    done
    metrics=
    for metric in sharpness diversity class_diversity fid; do
        for kappa in ${sampled//,/ }; do metrics+=" score.kappas.$kappa.$metric"; done
    done
}

classes() { # a classifier on the latent: space, concentration and epochs
    local kappa length
    for kappa in ${KAPPAS:-1 30 300 3000}; do
        train "classes-s1-$kappa" -n vmf -z 1 --kappa "$kappa" --classifier
        train "classes-s1-wide-$kappa" -n vmf -z 1 --radius 2 --kappa "$kappa" --classifier
        train "classes-s2-$kappa" -n vmf -z 2 --kappa "$kappa" --classifier
    done
    for length in ${LENGTHS:-5 20 50 200}; do # the model of the last epoch
        train "classes-epochs-$length" -n vmf -z 2 --kappa 300 --classifier -e "$length" -bi $((length - 1)) -la 500
    done
    metrics+=" accuracy"
}

codes() { # priors over codes
    train codes-independent -n vq --positions 4 --codes 32 --vq_prior independent -e "${EPOCHS:-100}"
    train codes-autoregressive -n vq --positions 4 --codes 32 --vq_prior autoregressive -e "${EPOCHS:-100}" \
        --vq_prior_epochs 30
    metrics+=" code_prior.bits code_prior.log_joint"
}

bits() { # 20 bits an image
    train bits-normal -n normal -z 10 -klt 13.86 -e "${EPOCHS:-100}"
    train bits-gumbel -n gumbel --variables 10 --categories 4 -klw "${WARMUP:-20}" -e "${EPOCHS:-100}"
    train bits-vq -n vq --positions 4 --codes 32 --vq_prior independent -e "${EPOCHS:-100}"
    metrics+=" elbo log_px_z kl"
}

labels() { # of the images that the classifier sees
    local number
    train labels-none -n normal -z 2 -klw "${WARMUP:-20}" -e "${EPOCHS:-100}"
    for number in 100 1000; do
        train "labels-$number" -n normal -z 2 -klw "${WARMUP:-20}" --classifier --labels "$number" -e "${EPOCHS:-100}"
    done
    train labels-all -n normal -z 2 -klw "${WARMUP:-20}" --classifier -e "${EPOCHS:-100}"
    metrics+=" accuracy"
}

case $claim in
    concentration | classes | codes | bits | labels) ;;
    *) stop "there is no claim '$claim'; name one of concentration, classes, codes, bits, labels" ;;
esac
for seed in ${SEEDS:-1 2 3}; do
    metrics=$scores
    "$claim"
done
say "mean and standard deviation over the seeds"
# shellcheck disable=SC2086  # many words
"$PY" -m utils.results "${runs[@]}" --metric $metrics
