# Sourced after `_environment.sh` by the scripts that train one model after another and compare them on the same images.
# Usage: . _runs.sh DEFAULT_EPOCHS DEFAULT_DATASET [FLAGS of every run]. From the environment: EPOCHS, FIGURES (names of
# those to draw, or none; otherwise all that a run offers), DATASET, DATA_DIR, LOG_DIR. The loop around `train` sets $seed.
epochs=${EPOCHS:-$1}
dataset=${DATASET:-$2}
common=("${@:3}")
runs=()

train() { # NAME [FLAGS]
    local name=$1
    # shellcheck disable=SC2086  # many names of figures
    "$PY" run_models.py -d "$dataset" --data_dir "${DATA_DIR:-data}" -e "$epochs" -ld "$results" -en "$name" \
        -rs "$seed" -pf 10 ${FIGURES:+--figures $FIGURES} "${common[@]}" "${@:2}" \
        || stop "the run $name with seed $seed failed (its message is above)"
    runs+=("$results/$dataset/$name"__s"$seed"__*/)
}

compare() { # WHAT THE TABLE SHOWS
    say "$1"
    "$PY" -m utils.results "${runs[@]}" || stop "the runs could not be compared"
}
