#!/usr/bin/env bash
# Installs what tests start beside Python, where the machine allows it (Debian or Ubuntu, as root): a PostgreSQL server,
# and Chromium with its driver. Elsewhere the tests that need them say SKIPPED and why; with CI=true that is a failure.
set -euo pipefail

have_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
have_chromium() { command -v chromium >/dev/null && command -v chromedriver >/dev/null; }

missing=()
have_postgres || missing+=(postgresql)
have_chromium || missing+=(chromium chromium-driver)
if [ ${#missing[@]} = 0 ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null
fi
if ! have_postgres || ! have_chromium; then
    echo "note: not here, and their tests will be skipped: ${missing[*]} (Debian: apt-get install ${missing[*]})" >&2
    [ "${CI:-}" != true ]
fi
