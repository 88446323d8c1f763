#!/usr/bin/env bash
# Trains a Normal and a von Mises-Fisher VAE of equal latent dimension on scikit-learn's handwritten digits, and compares them.
# It installs requirements.txt into .venv; the digits come with scikit-learn, and nothing else is downloaded.
# EPOCHS=20 bash run_files/quickstart.sh makes it shorter.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements.txt

epochs=${EPOCHS:-150}
runs=()
for name in normal vmf; do
    say "training a $name VAE with a latent space of dimension 5 for up to $epochs epochs"
    "$PY" run_models.py -n "$name" -z 5 -d digits -e "$epochs" -klw 50 -pf 25 -ld "$results" -en "quickstart-$name" \
        || stop "the $name run failed (its message is above)"
    runs+=("$results"/digits/quickstart-"$name"__*/)
done

say "both models on the same test images (nats per image, higher is better but for the KL)"
"$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
say "the pictures"
for run in "${runs[@]}"; do ls "$run"figures/*.png; done
