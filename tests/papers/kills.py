"""Kill the driver of `fftune.reproduce` at seeded moments; compare its tables to undisturbed ones.

    python -m tests.papers.kills P1.T3 P1.T10 --kills 10 --seed 0 --work FOLDER [FLAG ...]

Further flags go to `fftune.reproduce`. Exit code 0 where it was killed as often as asked, both runs
ended well, and all tables are equal, byte for byte.
"""

import argparse
import random
import signal
import subprocess
import sys
from pathlib import Path


def reproduce(root: Path, arguments: list[str], *, seconds: float | None = None) -> int | None:
    """Run the command to its end, or kill its driver after some seconds; None: it was killed."""
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "fftune.reproduce", *arguments, "--storage", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def tables(root: Path) -> dict[str, str]:
    """Tables of a storage folder, as they were written."""
    return {path.name: path.read_text() for path in sorted(root.glob("papers/*/**/*.csv"))}


def failures(
    work: Path, arguments: list[str], *, kills: int, seed: int, least: float, most: float
) -> list[str]:
    """Reasons why kills did harm, or show nothing; each comes after `least` to `most` seconds."""
    draw = random.Random(seed)
    killed = 0
    while killed < kills:
        moment = draw.uniform(least, most)
        if reproduce(work / "killed", arguments, seconds=moment) is not None:
            break  # it had ended before
        killed += 1
        done = len(list((work / "killed").glob("papers/tasks/*/done.json")))
        print(f"killed after {moment:.1f} s, {done} tasks are done", flush=True)
    codes = [reproduce(work / name, arguments) for name in ("killed", "undisturbed")]
    found, expected = tables(work / "killed"), tables(work / "undisturbed")
    print(f"{killed} kills, exit codes {codes}, {len(expected)} tables", flush=True)
    return [
        *([f"only {killed} of {kills} kills: it ended before"] if killed < kills else []),
        *([f"exit codes {codes}"] if any(codes) else []),
        *compared(found, expected),
    ]


def compared(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    """Tables that differ, or that there are none."""
    if not expected:
        return ["no tables were written"]
    names = sorted({**found, **expected})
    return [f"{name} differs" for name in names if found.get(name) != expected.get(name)]


def main() -> None:
    """Parse, kill, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=float, default=10.0, help="seconds before a kill")
    parser.add_argument("--most", type=float, default=60.0)
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    known, arguments = parser.parse_known_args()
    told = failures(
        known.work,
        arguments,
        kills=known.kills,
        seed=known.seed,
        least=known.least,
        most=known.most,
    )
    sys.exit("; ".join(told) or 0)


if __name__ == "__main__":
    main()
