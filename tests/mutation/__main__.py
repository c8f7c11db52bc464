"""`python -m tests.mutation [FILE ...]`: list the mutants of these files that survive."""

import argparse
import hashlib
import os
import sys
import time

from tests.mutation import forks, places
from tests.mutation.covering import ENOUGH, Covering, maps
from tests.mutation.generate import Mutant, mutants_of
from tests.mutation.places import SAMPLED, WHOLE
from tests.mutation.scores import HEAD, ListError, Score, equivalents, grave
from tests.mutation.trial import Trials, judge, limit


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("files", nargs="*", help="paths, or 'grave': those put in by hand")
    parser.add_argument("--sample", type=int, help="so many of each file (25, and all of seven)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--seconds", type=float, default=ENOUGH, help="of tests for a mutant at the most"
    )
    parser.add_argument("--list", action="store_true", help="show mutants, run none")
    parser.add_argument("--unchanged", action="store_true", help="the code as it is: all survive")
    parser.add_argument("--only", type=int, metavar="N", help="run one, and show its tests")
    return parser.parse_args()


def sample(mutants: list[Mutant], count: int | None, seed: int) -> list[Mutant]:
    """Draw mutants by the hash of their text, so that changes elsewhere keep the sample."""
    if count is None or count >= len(mutants):
        return mutants

    def draw(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed} {mutant.before} {mutant.after}".encode()).digest()

    return sorted(sorted(mutants, key=draw)[:count], key=lambda m: m.line)


def chosen(options: argparse.Namespace) -> dict[str, tuple[list[Mutant], set[str]]]:
    """Map each file to the mutants to try and the texts of equivalent ones."""
    found: dict[str, tuple[list[Mutant], set[str]]] = {}
    for file in options.files or [*places.TARGETS, "grave"]:
        if file == "grave":
            found[file] = grave(), set()
            continue
        if file not in places.TARGETS:
            raise ListError(f"{file} is not one of {', '.join((*WHOLE, *SAMPLED))}, grave")
        every = mutants_of(file, (places.ROOT / file).read_text(encoding="utf-8"))
        count = 25 if file in SAMPLED and not options.files else None
        taken = sample(
            every, options.sample if file in SAMPLED and options.sample else count, options.seed
        )
        found[file] = taken, equivalents(file, every)
    return found


def unchanged(files: list[str], jobs: int) -> int:
    """Run each file unchanged in place of a mutant: a test that fails here would kill all."""
    covering = Covering(maps(jobs), enough=float("inf"))
    same = [(file, (places.ROOT / file).read_text(encoding="utf-8")) for file in files]
    mutants = [Mutant(file, 1, "", "as it is", f"{text}\n# as it is\n") for file, text in same]
    results = Trials(covering, jobs, note).run(mutants)
    for mutant, result in zip(mutants, results, strict=True):
        print(f"{mutant.file}: {result}")
    return 0 if all(result["status"] == "survived" for result in results) else 3


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def alone(mutant: Mutant, covering: Covering) -> int:
    """Try one mutant and show the output of its tests."""
    print(mutant)
    cover = covering.of(mutant)
    order = Trials(covering, 1, note).order(mutant, cover)
    child = forks.fork(lambda: judge(mutant, cover, order, loud=True), 10 * limit(cover), loud=True)
    while (result := child.result()) is None:
        time.sleep(0.05)
    print(f"{result['status']} {result.get('by', '')}")
    return 0 if result["status"] != "survived" else 3


def main() -> int:
    options = arguments()
    if options.unchanged:
        forks.load_libraries()
        return unchanged(options.files or [*places.TARGETS], options.jobs)
    todo = chosen(options)
    if options.list:
        for mutants, same in todo.values():
            for i, mutant in enumerate(mutants):
                print(f"{i:4d} {mutant}{'  (equivalent)' * (mutant.source in same)}")
        return 0
    began = time.monotonic()
    forks.load_libraries()
    covering = Covering(maps(options.jobs), options.seconds)
    if options.only is not None:
        return alone(next(iter(todo.values()))[0][options.only], covering)
    trials = Trials(covering, options.jobs, note)
    scores = []
    for file, (mutants, same) in todo.items():
        scores.append(Score(file, mutants, trials.run(mutants), same))
        note(str(scores[-1]))
    print(HEAD, *scores, sep="\n")
    print(*(line for score in scores for line in score.alive()), sep="\n")
    spent = sum(trials.spent) / max(len(trials.spent), 1)
    minutes = (time.monotonic() - began) / 60
    print(f"{len(trials.spent)} tried anew, {spent:.1f} s each; {minutes:.1f} minutes in all")
    return 0 if all(score.met for score in scores) else 3


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ListError as error:
        sys.exit(f"error: {error}")
