# ruff: noqa: ARG005
"""The conformance test of objectives: ours pass, and each kind of mistake is named."""

import pytest
import torch.nn.functional as F

from fftune.objectives import Crafting, ObjectiveSpec
from fftune.registry import OBJECTIVES
from fftune.testing.objectives import check_objective


def plain(logits, logits_pert, y, *, lam):
    return F.cross_entropy(logits, y) + lam * F.cross_entropy(logits_pert, y)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_the_packages_objectives_conform(name: str) -> None:
    check_objective(name)


def test_a_plain_function_conforms(tmp_path) -> None:
    check_objective(plain)
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch.nn.functional as F\n"
        "def mine(logits, logits_pert, y, *, lam):\n"
        "    return F.cross_entropy(logits, y) + lam * F.mse_loss(logits, logits_pert)\n"
    )
    check_objective(f"{file}:mine")


JOINT = Crafting("adversarial", "ce", joint=True)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda a, b, y, *, lam: plain(a, b, y, lam=lam) * len(y), "a mean over the examples"),
        (lambda a, b, y, *, lam: F.cross_entropy(a, y, reduction="none"), "must be a scalar"),
        (lambda a, b, y, *, lam: F.cross_entropy(b, y), "first batch of logits must not vanish"),
        (lambda a, b, y, *, lam: plain(b, a, y, lam=lam), "cross-entropy on the clean batch"),
        (lambda a, b, y, *, lam: plain(a, b, y, lam=lam) / 0, "must be finite"),
        (lambda a, b, y, *, lam: plain(a, b, y, lam=lam) + (a * b)[0].sum(), "order of examples"),
    ],
)
def test_a_mistake_is_named(loss, message) -> None:
    with pytest.raises((AssertionError, RuntimeError), match=message):
        check_objective(ObjectiveSpec(loss=loss, crafting=JOINT, weighted=True))


def test_hooks_without_a_net_are_refused() -> None:
    with pytest.raises(AssertionError, match="must name the net"):
        check_objective(ObjectiveSpec(hooks=lambda *_: None))
    with pytest.raises(AssertionError, match="a loss or hooks"):
        check_objective(ObjectiveSpec())
