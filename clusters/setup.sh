#!/usr/bin/env bash
# Everything fftune needs on a fresh Debian 12 machine, or in its image: system packages, a virtual
# environment, pinned Python packages. Idempotent: what is there is left alone.
#
#   clusters/setup.sh [--dev] [--venv DIR] [--python PROGRAM]
#   clusters/setup.sh --system [--python PROGRAM]     into PROGRAM's own environment: images have one
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
python=python3
groups=()
system=
while [ $# -gt 0 ]; do
    case $1 in
        --system) system=yes ;;
        --dev) groups=(--group dev) ;;
        --venv) venv=$2; shift ;;
        --python) python=$2; shift ;;
        *) echo "setup: unknown option '$1'" >&2; exit 2 ;;
    esac
    shift
done

# FFCV compiles against OpenCV and TurboJPEG; it has no wheel. tests/faults compiles too.
packages=(g++ libopencv-dev libturbojpeg0-dev pkg-config)
if [ -n "$system" ]; then
    bin=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
    stamp=$bin/../.fftune-setup
else
    bin=$venv/bin
    stamp=$venv/.fftune-setup
    packages+=(python3-dev python3-venv)
fi
wanted=$(cat pyproject.toml constraints.txt clusters/setup.sh; echo "$PWD ${groups[*]-}")
if [ -x "$bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || { echo "setup: needs root or sudo to install ${missing[*]}" >&2; exit 2; }
        root=(sudo)
    fi
    echo "setup: installing system packages: ${missing[*]}" >&2
    "${root[@]}" apt-get update -qq >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

# `python3 -m venv` on an existing folder mends it and keeps what it holds.
[ -x "$bin/python" ] || "$python" -m venv "$venv"
"$bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: needs Python 3.11 or newer, found $("$bin/python" --version)" >&2
    exit 2
}
[ -x "$bin/uv" ] || "$bin/python" -m pip install --quiet "$(grep '^uv==' constraints.txt)"
echo "setup: installing Python packages into ${bin%/bin}" >&2
# Compiled once: where PYTHONDONTWRITEBYTECODE is set, as in many images, every process of Ray's, and
# every command, would compile all that it imports again, which takes as long as the imports.
"$bin/uv" pip install --quiet --python "$bin/python" --constraints constraints.txt --compile-bytecode \
    --editable '.[ffcv,cluster]' "${groups[@]}"
"$bin/python" -m compileall -q fftune
printf '%s' "$wanted" > "$stamp"
