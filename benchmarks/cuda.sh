#!/usr/bin/env bash
# Everything that has to be seen on a card, in under eight minutes: the tests that need one, step times, log p(x), every
# kind of model against the CPU, ten seeds. What a part prints goes to the terminal and to $OUT/cuda.txt.
#
#   bash benchmarks/cuda.sh          on a card
#   bash benchmarks/cuda.sh cpu      a rehearsal without one
set -uo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
python=${PYTHON:-.venv/bin/python}
out=${OUT:-$(mktemp -d)}

part() { # seconds, name, command...
    local limit=$1 name=$2
    shift 2
    echo "== $name"
    local started=$SECONDS
    timeout "$limit" "$@" || { echo "!! $name: exit code $?"; }
    echo "== $name: $((SECONDS - started)) s"
}

{
    part 90 "tests" "$python" -m pytest -q -p no:cacheprovider tests/test_cuda.py tests/faults/test_resources.py
    part 240 "step times, log p(x), kinds of models" "$python" -m benchmarks.card "$device"
    part 120 "ten seeds" "$python" run_models.py -n vmf -z 5 -d digits -e 10 -lls 50 --seeds 10 -v 0 \
        --device "$device" -ld "$out/results"
} 2>&1 | tee "$out/cuda.txt"
grep -q '^!!' "$out/cuda.txt" && exit 1
echo "written to $out/cuda.txt"
