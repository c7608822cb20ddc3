#!/usr/bin/env bash
# Builds the chat page into web/page/dist, where Node is there and the sources have changed since.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/shell.sh

page=web/page
built_from=$page/dist/built-from # a sum of the sources: checkouts change times at will

sum_of_sources() {
  find $page web/client/src -type f ! -path '*/node_modules/*' ! -path "$page/dist/*" \
    -exec cksum {} + | LC_ALL=C sort | cksum
}

# Sets npm, to that of the first Node that is new enough: on the PATH, or the one that
# scripts/test-servers.sh has put into .venv.
find_npm() {
  local bundled
  if type -P npm >/dev/null && is_new_enough node; then
    npm=(npm)
  elif is_new_enough .venv/bin/node; then
    bundled=$(dirname "$(dirname "$(readlink -f .venv/bin/node)")")
    PATH=$PWD/.venv/bin:$PATH
    npm=(node "$bundled/lib/node_modules/npm/bin/npm-cli.js")
  else
    return 1
  fi
}

is_new_enough() {
  "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number);
           process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

build() {
  cd $page
  # Without scripts: none of the packages needs one, and none should run here. Without a network it
  # is to fail soon, as the server runs without the page.
  cmp -s package-lock.json node_modules/installed.json ||
    "${npm[@]}" ci --ignore-scripts --include=dev --prefer-offline --no-audit --no-fund \
      --loglevel=error --fetch-retries=1 --fetch-timeout=20000 || return 1
  "${npm[@]}" run --silent build -- --logLevel warn && cp package-lock.json node_modules/installed.json
}

wanted=$(sum_of_sources)
is_built() { [ "$wanted" = "$(cat $built_from 2>/dev/null)" ]; }
# The tests need what it is made with, too.
if is_built && { [ "${1:-}" != --with-packages ] || [ -d $page/node_modules ]; }; then exit 0; fi
if ! find_npm; then
  without "Without Node.js 20.19 or newer the server runs, but has no chat page at /."
  exit 0
fi
say "Building the chat page; the first time takes about ten seconds …"
if (build); then
  printf '%s\n' "$wanted" >$built_from
else
  without "The chat page could not be built: the lines above say why. The server runs without it."
fi
