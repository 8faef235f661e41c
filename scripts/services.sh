#!/usr/bin/env bash
# Installs the PostgreSQL server that tests start, where the machine allows it (Debian or Ubuntu, as root).
# Elsewhere the tests that need it say SKIPPED and why; with CI=true its absence is a failure.
set -euo pipefail

have_postgres() { command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; }

if have_postgres; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null
fi
if ! have_postgres; then
    echo "note: no PostgreSQL server here; its tests will be skipped (Debian: apt-get install postgresql)" >&2
    [ "${CI:-}" != true ]
fi
