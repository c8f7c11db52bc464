#!/usr/bin/env bash
# The token that opens a cluster: made on first use, for its owner's eyes only, printed nowhere.
#
#   clusters/token.sh [FILE]     FILE is Ray's own place, ~/.ray/auth_token, unless named
set -euo pipefail

file=${1:-$HOME/.ray/auth_token}
umask 077
mkdir -p "$(dirname "$file")"
[ -s "$file" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$file"
chmod 600 "$file"
