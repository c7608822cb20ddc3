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

# Sets npm, to Node's on the PATH or to the one that scripts/test-servers.sh has put into .venv.
find_npm() {
  local bundled
  if type -P node >/dev/null && type -P npm >/dev/null; then
    npm=(npm)
  elif [ -x .venv/bin/node ]; then
    bundled=$(dirname "$(dirname "$(readlink -f .venv/bin/node)")")
    PATH=$PWD/.venv/bin:$PATH
    npm=(node "$bundled/lib/node_modules/npm/bin/npm-cli.js")
  else
    return 1
  fi
}

build() {
  cd $page
  # Without scripts: none of the packages needs one, and none should run here.
  cmp -s package-lock.json node_modules/installed.json ||
    { "${npm[@]}" ci --ignore-scripts --no-audit --no-fund --loglevel=error &&
      cp package-lock.json node_modules/installed.json; } || return 1
  "${npm[@]}" run --silent build -- --logLevel warn
}

wanted=$(sum_of_sources)
[ "$wanted" != "$(cat $built_from 2>/dev/null)" ] || exit 0
if ! find_npm; then
  without "Without Node.js the server runs, but has no chat page at /."
  exit 0
fi
if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number);
              process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'; then
  without "The chat page is not built: that needs Node.js 20.19 or newer, and this is $(node -v)."
  exit 0
fi
say "Building the chat page; the first time takes about ten seconds …"
if (build); then
  printf '%s\n' "$wanted" >$built_from
else
  without "The chat page could not be built: the lines above say why. The server runs without it."
fi
