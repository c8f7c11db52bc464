#!/usr/bin/env bash
# Compares the pins with a database of known holes.
#
#   clusters/audit.sh [OPTION ...]    options of pip-audit, as --vulnerability-service osv
#
# Exit code: 0 none is known, 1 some are, 2 no database has answered, which one line says.
set -uo pipefail
cd "$(dirname "$0")/.."

said=$(mktemp)
trap 'rm -f "$said"' EXIT
${PIP_AUDIT:-.venv/bin/uv tool run pip-audit} --strict --requirement constraints.txt \
    --no-deps --disable-pip "$@" 2>"$said" && { cat "$said" >&2; exit 0; }
if grep -q '^Found [0-9]* known vulnerabilit' "$said"; then
    cat "$said" >&2
    exit 1
fi
why=$(grep -v '^ *$' "$said" | tail -n 1)
echo "audit: no database of known holes has answered, nothing was compared (${why:-it said nothing});" \
    "run it where pypi.org can be reached, or --vulnerability-service osv where osv.dev can" >&2
exit 2
