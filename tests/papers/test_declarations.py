"""Equal declarations are one task, whatever words they use."""

import pytest

from fftune.errors import ConfigError
from fftune.papers.declarations import Exam, Net, Setup, Substandard


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Net(objective="thrm", lam=0), Net()),
        (Net(objective="trades", lam=0, norm="l2"), Net(objective="thrm", lam=0)),
        (Net(norm="l2"), Net()),
        (Net(kind="naive", objective="pgd_at", norm="l2"), Net(kind="naive")),
        (Net(kind="noise", norm="l2"), Net(kind="noise")),
        (Net(objective="pgd_at", lam=6), Net(objective="pgd_at")),
        (Substandard(data="svhn", kind="noise", norm="l2"), Substandard(data="svhn", kind="noise")),
    ],
)
def test_two_words_for_one_thing_are_equal(one, other) -> None:
    assert one == other and hash(one) == hash(other) and str(one) == str(other)
    if isinstance(one, Net):
        assert Exam(net=one) == Exam(net=other)


@pytest.mark.parametrize(
    "other",
    [
        Net(seed=1),
        Net(objective="thrm", lam=1),
        Net(kind="poisoning"),
        Net(kind="poisoning", norm="l2"),
        Net(kind="helped"),
        Net(kind="helped", norm="l2"),
        Net(objective="pgd_at"),
        Net(objective="pgd_at", norm="l2"),
        Net(data="svhn"),
        Net(model="vgg16"),
    ],
)
def test_what_decides_the_weights_tells_nets_apart(other) -> None:
    others = {Net(), Net(kind="naive"), Net(objective="trades", lam=1)}
    assert other not in others and len({*map(str, others), str(other)}) == 4


def test_no_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="seeds must be >= 1, got 0"):
        Setup(seeds=0)
