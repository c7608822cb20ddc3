# Sourced by the scripts beside it and by .ci/run.

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Something the tests want can't be had: they skip what needs it, but not on a CI machine, where a
# skipped test would go unnoticed.
without() {
  say "$*"
  [ "${CI:-}" != true ] || exit 1
}

# apt_install <package> …: false, with a message, where that can't be done.
apt_install() {
  local as_root=() log
  if ! command -v apt-get >/dev/null; then
    say "$* is missing, and there is no apt-get to install it with: please install it by hand."
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      say "$* is missing, and installing it needs root: sudo apt-get install $*"
      return 1
    fi
    as_root=(sudo)
  fi
  say "Installing $* by apt-get …"
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update -q &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y -q --no-install-recommends "$@"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    say "apt-get could not install $*: the lines above say why."
    return 1
  fi
  rm -f "$log"
}
