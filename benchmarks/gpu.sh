#!/usr/bin/env bash
# All checks and figures of a device in one call of at most 10 minutes, each part's output in a file.
#
#     benchmarks/gpu.sh FOLDER
#
# Environment: PYTHON (python3), DEVICE (cuda; cpu for a try-out at tiny sizes), MODELS (the folder
# with architectures.py and weights), FFTUNE_DATA (data sets), ONLY (names of parts, default all).
# A part that fails, or runs out of its time, is named at the end, and the others go on.
# Exit code: 0 all parts passed, 1 some failed or were skipped, 2 a mistake of the caller.
set -u

if [ $# -ne 1 ]; then
    echo "usage: benchmarks/gpu.sh FOLDER" >&2
    exit 2
fi
mkdir -p "$1" || exit 2
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
models=${MODELS:-../shared/models}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
limit=580
failed=()
SECONDS=0

if ! command -v "$python" >/dev/null; then
    echo "PYTHON must be a Python with fftune's packages, got '$python'" >&2
    exit 2
fi
case $device in
    cuda)
        if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
            echo "DEVICE is cuda, and torch sees none with '$python'" >&2
            exit 2
        fi
        ;;
    cpu) export OMP_NUM_THREADS=1 ;;
    *) echo "DEVICE must be cuda or cpu, got '$device'" >&2; exit 2 ;;
esac

parts="equality train wide fused attacks battery noise data difference"
for name in ${ONLY:-}; do
    if [[ " $parts " != *" $name "* ]]; then
        echo "ONLY must be names among $parts, got '$name'" >&2
        exit 2
    fi
done

head_of() {
    echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
    echo "commit: $(git rev-parse HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ', changed')"
    echo "card: $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo none)"
    "$python" - <<'PY'
import importlib.util
import platform
from importlib.metadata import version

import torch

names = [n for n in ("torchvision", "torchattacks", "ffcv", "numpy") if importlib.util.find_spec(n)]
print(f"torch: {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}")
print(f"cuDNN: {torch.backends.cudnn.version() if torch.cuda.is_available() else 'not used'}")
print("packages:", ", ".join(f"{name} {version(name)}" for name in names))
PY
}

# part NAME SECONDS COMMAND...: what is left of the whole limit cuts the part's own time.
part() {
    local name=$1 most=$2 began=$SECONDS code
    shift 2
    if [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $name "* ]]; then
        return
    fi
    if [ $((limit - SECONDS)) -lt "$most" ]; then
        most=$((limit - SECONDS))
    fi
    if [ "$most" -lt 5 ]; then
        echo "$name: skipped, no time is left"
        failed+=("$name (no time left)")
        return
    fi
    echo "== $name, at most $most s: $*"
    { cat "$out/machine.txt"; echo "command: $*"; } >"$out/$name.txt"
    timeout --kill-after=5 "$most" "$@" >>"$out/$name.txt" 2>"$out/$name.err"
    code=$?
    tail -n 25 "$out/$name.txt"
    if [ $code -ne 0 ]; then
        tail -n 5 "$out/$name.err"
        case $code in
            124 | 137) failed+=("$name (out of time)") ;;
            *) failed+=("$name (exit code $code)") ;;
        esac
    fi
    echo "== $name: exit code $code, $((SECONDS - began)) s"
}

head_of >"$out/machine.txt" 2>"$out/machine.err" || failed+=("machine")
cat "$out/machine.txt"

if [ "$device" = cuda ]; then
    part equality 75 "$python" -m pytest -o addopts= -q -rs --continue-on-collection-errors -m cuda tests/cuda
    part train 120 "$python" benchmarks/train.py --device cuda --model resnet18
    part wide 130 "$python" benchmarks/train.py --device cuda --model wrn28_10 --rounds 2 --no-checks
    part fused 60 "$python" benchmarks/fused.py --device cuda --threads 1 --steps 8
    part attacks 165 "$python" benchmarks/attacks.py autoattack --models "$models" --device cuda --images 1000 --seeds 0 1 2 --budget 145
    part battery 75 "$python" benchmarks/attacks.py battery --device cuda --images 10000
    part noise 20 "$python" benchmarks/noise.py --device cuda --rounds 5
    part data 30 "$python" benchmarks/data.py --feed --device cuda
    part difference 40 "$python" -m fftune doctor --model "$models/architectures.py:SmallNet" --weights "$models/fastat_small.pt" --data cifar10 --devices cpu cuda --examples 256
else
    part equality 100 "$python" -m pytest -o addopts= -q -rs --continue-on-collection-errors -m cuda tests/cuda
    part train 100 "$python" benchmarks/train.py --model small_cnn --batch 4 --steps 1 --rounds 1 --objectives thrm --precisions fp32
    part wide 100 "$python" benchmarks/train.py --model wrn28_10 --width 2 --batch 4 --steps 1 --rounds 1 --no-checks --precisions fp32
    part fused 60 "$python" benchmarks/fused.py --nets small_cnn --copies 1 2 --threads 1 --steps 1 --rounds 1
    part attacks 100 "$python" benchmarks/attacks.py autoattack --models "$models" --images 2 --seeds 0 --budget 40
    part battery 60 "$python" benchmarks/attacks.py battery --images 2
    part noise 40 "$python" benchmarks/noise.py --rounds 1
    part data 60 "$python" benchmarks/data.py --feed --device cpu --rates 2000
    part difference 45 "$python" -m fftune doctor --model "$models/architectures.py:SmallNet" --weights "$models/fastat_small.pt" --data cifar10 --devices cpu cpu --examples 8
fi

echo "took $SECONDS s; outputs in $out"
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" | tee "$out/failed.txt"
    exit 1
fi
echo "all parts passed"
