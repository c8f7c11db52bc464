"""Cases of the default suite among very many: each of their features once."""

from collections.abc import Callable, Hashable, Iterable

import pytest
from _pytest.mark import ParameterSet

Case = tuple[object, ...]


def each_once(
    cases: Iterable[Case], features: Callable[[Case], Iterable[Hashable]]
) -> list[ParameterSet]:
    """Parameters of all cases, of which those are slow whose features have all come before.

    Most mistakes show where two things meet, as a search and a goal; the slow suite has the rest.

    Args:
        cases: arguments of a test.
        features: of a case.
    """
    seen: set[Hashable] = set()
    found = []
    for case in cases:
        new = set(features(case)) - seen
        found.append(pytest.param(*case, marks=() if new else pytest.mark.slow))
        seen |= new
    return found
