#!/usr/bin/env bash
# Compares the pins with a database of known holes.
#
#   clusters/audit.sh [OPTION ...]    options of pip-audit, as --vulnerability-service osv
#
# Exit code: 0 none is known, 1 some are, 2 no database has answered, which one line says.
set -euo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp)
trap 'rm -f "$said"' EXIT
if ${PIP_AUDIT:-.venv/bin/uv tool run pip-audit} --strict --requirement constraints.txt \
    --no-deps --disable-pip "$@" 2>"$said"; then
    cat "$said" >&2
    exit 0
fi
if grep -q '^Found [0-9]* known vulnerabilit' "$said"; then
    cat "$said" >&2
    exit 1
fi
why=$(grep -v '^ *$' "$said" | tail -n 1 || true)
echo "audit: no database of known holes has answered, nothing was compared (${why:-it said nothing});" \
    "run it where the database can be reached, or name another by --vulnerability-service" >&2
exit 2
