"""Cases that `@pytest.mark.some(n)` leaves to the default suite."""

from pathlib import Path

import pytest

from tests.conftest import thin


class Case:
    """As much of a test's case as is asked for."""

    path, cls, originalname = Path("test_planted.py"), None, "test_planted"

    def __init__(self, *marks: pytest.MarkDecorator) -> None:
        self.marks = {mark.name: mark.mark for mark in marks}

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self.marks.get(name)

    def add_marker(self, mark: pytest.MarkDecorator) -> None:
        self.marks[mark.name] = mark.mark


@pytest.mark.parametrize(
    ("count", "of", "kept"),
    [(1, 4, [0]), (2, 5, [0, 4]), (3, 10, [0, 4, 9]), (5, 5, [0, 1, 2, 3, 4]), (9, 2, [0, 1])],
)
def test_they_are_spread_evenly_and_the_others_are_slow(count, of, kept) -> None:
    cases = [Case(pytest.mark.some(count)) for _ in range(of)]
    thin(cases)
    assert [i for i, case in enumerate(cases) if "slow" not in case.marks] == kept


def test_a_case_that_is_slow_anyway_is_not_counted() -> None:
    slow, others = Case(pytest.mark.some(1), pytest.mark.slow), [Case(pytest.mark.some(1))]
    others += [Case(pytest.mark.some(1)), Case()]
    thin([slow, *others])
    assert ["slow" in case.marks for case in others] == [False, True, False]


@pytest.mark.some(1)
@pytest.mark.parametrize("number", [1, 2])
def test_the_suite_heeds_it(number: int, request: pytest.FixtureRequest) -> None:
    assert bool(request.node.get_closest_marker("slow")) == (number == 2)
