#!/usr/bin/env bash
# Installs what tests start for real, where the machine allows it (Debian or Ubuntu, as root): a PostgreSQL server and
# Chromium. Elsewhere the tests that need them say SKIPPED and why; with CI=true their absence is a failure.
set -euo pipefail

have_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }
have_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; }

missing=()
have_postgres || missing+=(postgresql)
have_chromium || missing+=(chromium chromium-driver)
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null || true
fi
if ! have_postgres || ! have_chromium; then
    echo "note: PostgreSQL or Chromium is missing; their tests will be skipped (Debian: apt-get install ${missing[*]})" >&2
    [ "${CI:-}" != true ]
fi
