# Sourced by the scripts beside it: enters the project folder and makes or reuses `.venv`.
# Usage: . _environment.sh REQUIREMENTS_FILE [FOLDER]. Afterwards $PY is the interpreter of the environment, and $results
# the folder for the runs: LOG_DIR if that is set, else FOLDER or `results`, each seen from the project folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# In full, so that the paths that are printed hold in the caller's folder, too.
results=${LOG_DIR:-${2:-results}}
[[ $results == /* ]] || results=$PWD/$results

say() { printf '>> %s\n' "$*"; }
stop() { printf '>> stopped: %s\n' "$*" >&2; exit 1; }

requirements=$1
base=${PYTHON:-python3}
command -v "$base" >/dev/null || stop "no interpreter '$base' was found; name one with PYTHON=python3.12"
wanted=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || stop "'$base' does not run"
case $wanted in
    3.10 | 3.11 | 3.12) ;;
    *) say "'$base' is Python $wanted; 3.10 to 3.12 are the tested ones" ;;
esac

PY=$PWD/.venv/bin/python
if [ -x "$PY" ] && found=$("$PY" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    if [ -n "${PYTHON:-}" ] && [ "$found" != "$wanted" ]; then
        stop ".venv holds Python $found but PYTHON asks for $wanted; remove .venv or leave PYTHON unset"
    fi
    say "using the environment in .venv (Python $found)"
else
    say "making an environment in .venv with Python $wanted"
    "$base" -m venv --clear .venv || stop "the environment could not be made; is the venv module of '$base' installed?"
fi

# The stamp makes a second start quick: pip is asked only when the requirements changed. What the tests need includes
# what the program needs.
wants=$(cat requirements*.txt)
stamped() { [ -f ".venv/installed-$1" ] && [ "$(cat ".venv/installed-$1")" = "$wants" ]; }
if ! stamped "$requirements" && ! stamped requirements-test.txt; then
    say "installing $requirements: on Linux a download of 3 GB and 6 GB of disk, unless PyTorch is in .venv already"
    "$PY" -m pip install --quiet --disable-pip-version-check -r "$requirements" \
        || stop "pip could not install $requirements (its message is above)"
    printf '%s\n' "$wants" >".venv/installed-$requirements"
fi
