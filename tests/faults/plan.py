"""The calls of a command that are made to fail."""

import random
from collections.abc import Callable, Collection, Iterator, Sequence

from tests.faults.shim import ACTIONS, Call, Fault


def sites(calls: Sequence[Call]) -> Iterator[Fault]:
    """Every distinct pair of call site and kind of file, once with each action.

    A call is named by its number among those of its name and kind: that is the same in every run,
    whatever threads do meanwhile.
    """
    seen: set[tuple[object, ...]] = set()
    numbers: dict[tuple[str, str], int] = {}
    for call in calls:
        at = numbers[call.call, call.kind] = numbers.get((call.call, call.kind), 0) + 1
        if (call.site, call.kind) in seen:
            continue
        seen.add((call.site, call.kind))
        for action in ACTIONS:
            stays = action == "ENOSPC"
            yield Fault(action=action, at=at, call=call.call, kind=call.kind, stays=stays)


def seeded(calls: Sequence[Call], count: int, seed: int) -> Iterator[Fault]:
    """Calls at random, of all that there are."""
    draw = random.Random(seed)
    for _ in range(count):
        action = draw.choice(list(ACTIONS))
        stays = action == "ENOSPC" and draw.random() < 0.5
        yield Fault(action=action, at=draw.randint(1, len(calls)), stays=stays)


def every(calls: Sequence[Call]) -> Iterator[Fault]:
    """Death at each call."""
    for number in range(1, len(calls) + 1):
        yield Fault(action="death", at=number)


OUTAGES = (
    *(("training", "memory"), ("evaluation", "memory"), ("study", "memory")),
    *(("study", "mlflow"), ("study", "database"), ("evaluation", "mlflow")),
)
"""Commands, and what may end under them."""


def outages(
    counted: Callable[[str, str], int], names: Collection[str], count: int, seed: int
) -> Iterator[tuple[str, Fault]]:
    """Calls at which memory, MLflow or a database ends, at random, for each of these commands.

    Args:
        counted: number of calls of a command that an outage could meet.
        count: calls of each pair in `OUTAGES`.
    """
    draw = random.Random(seed)
    for name, outage in OUTAGES:
        if name in names:
            last = counted(name, outage)
            for number in draw.sample(range(1, last + 1), min(last, count)):
                yield name, Fault(action=outage, at=number)
