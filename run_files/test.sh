#!/usr/bin/env bash
# Linter, type check and tests. Real data sets are used where HSVAE_DATA names a folder that holds them.
# Arguments are passed to pytest: `bash run_files/test.sh -m "not slow"`.
. "$(dirname "${BASH_SOURCE[0]}")/_environment.sh" requirements-test.txt

say "linter"
"$PY" -m ruff check . || stop "the linter found faults"
say "types"
"$PY" -m mypy . || stop "the type check found faults"
say "tests"
"$PY" -m pytest -n auto --durations=10 "$@" || stop "tests failed"
say "all checks passed"
