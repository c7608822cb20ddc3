#!/usr/bin/env bash
# Makes .venv, and installs what a requirements file names where that has changed since last time.
# usage: scripts/setup.sh requirements.txt | requirements-dev.txt
# PYTHON names the interpreter to use; otherwise it is the first on PATH that is new enough.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/shell.sh

requirements=${1:-requirements.txt}
# A copy of what was installed: compared by content, because a checkout changes times at will.
installed=.venv/installed-$requirements
wanted=$(cat requirements.txt "$requirements")

usable='import sys; assert sys.version_info >= (3, 11)'

find_python() {
  local name
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
    if command -v "$name" >/dev/null && "$name" -c "$usable" 2>/dev/null; then
      printf '%s\n' "$name"
      return
    fi
  done
  return 1
}

# Also made anew: one that was interrupted half-way, or whose Python has gone.
if ! .venv/bin/python -c "$usable; import pip" 2>/dev/null; then
  python=$(find_python) || fail "Python 3.11 or newer is needed, and not on PATH; PYTHON=… names one."
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python lacks its venv module; on Debian and Ubuntu: sudo apt-get install python3-venv"
  say "Making .venv with $("$python" --version) …"
  "$python" -m venv --clear .venv
fi

if [ "$wanted" != "$(cat "$installed" 2>/dev/null)" ]; then
  say "Installing $requirements into .venv; the first time takes about a minute …"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" ||
    fail "pip could not install $requirements: the lines above say why."
  printf '%s\n' "$wanted" >"$installed"
fi
