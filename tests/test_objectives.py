import pytest
import torch

from fftune.errors import ConfigError
from fftune.objectives import Crafting, cross_entropy, find_objective, thrm, trades

Y = torch.tensor([0, 2, 1])


@pytest.fixture
def logits(rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    draw = lambda: torch.randn(3, 4, dtype=torch.float64, generator=rng)  # noqa: E731
    return draw().requires_grad_(), draw().requires_grad_()


def definition(logits: torch.Tensor, logits_pert: torch.Tensor, lam: float) -> torch.Tensor:
    """CE + lam * KL(p || q), written out, the mean over the batch."""
    p, q = logits.softmax(1), logits_pert.softmax(1)
    ce = -p[torch.arange(3), Y].log()
    kl = (p * (p / q).log()).sum(1)
    return (ce + lam * kl).mean()


@pytest.mark.parametrize("objective", ["thrm", "trades"])
@pytest.mark.parametrize("lam", [1e-9, 1.0, 3.0])
def test_value_and_gradients_are_those_of_the_definition(objective, lam, logits) -> None:
    """The clean half comes first; the gradient flows through p as well: no detaching."""
    value = find_objective(objective).at(lam).value(torch.cat(logits), Y, lam=lam)
    torch.testing.assert_close(value, definition(*logits, lam))
    found = torch.autograd.grad(value, logits)
    expected = torch.autograd.grad(definition(*logits, lam), logits)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    if lam > 1:
        swapped = definition(logits[1], logits[0], lam)
        assert value.item() != pytest.approx(swapped.item(), rel=0.01)


@pytest.mark.parametrize("objective", [thrm, trades])
@pytest.mark.parametrize("lam", [0.5, 20.0])
def test_gradients_numerically(objective, lam, logits) -> None:
    value = objective(*logits, Y, lam=lam)
    torch.testing.assert_close(value, definition(*logits, lam))
    assert torch.autograd.gradcheck(lambda a, b: objective(a, b, Y, lam=lam), logits)


@pytest.mark.parametrize("objective", ["standard", "pgd_at", "fast_at", "thrm", "trades"])
def test_without_a_second_term_it_is_the_cross_entropy_of_all_logits(objective, logits) -> None:
    """By name, or because lambda is 0; of uniform logits it is log K."""
    value = find_objective(objective).at(0).value(logits[0], Y, lam=0.0)
    torch.testing.assert_close(value, definition(logits[0], logits[0], 0.0))
    assert cross_entropy(torch.zeros(3, 4), Y).item() == pytest.approx(torch.tensor(4.0).log())


def test_the_hinge_needs_a_threshold_that_logits_do_not_have(logits) -> None:
    linf_dist = find_objective("linf_dist")
    with pytest.raises(ConfigError, match="this one has only hooks"):
        linf_dist.value(logits[0], Y, lam=0.0)
    assert (linf_dist.crafting, linf_dist.needs_model) == (None, "linf_dist")


def crafting(name: str, lam: float) -> Crafting | None:
    return find_objective(name).at(lam).crafting


def test_what_each_objective_crafts() -> None:
    assert crafting("standard", 0) is None
    assert crafting("thrm", 0) is None
    assert crafting("trades", 0) is None
    goals = {name: crafting(name, 1) for name in ("pgd_at", "fast_at", "trades", "thrm")}
    assert {name: (c.goal, c.loss, c.joint) for name, c in goals.items() if c} == {
        "pgd_at": ("adversarial", "ce", False),
        "fast_at": ("adversarial", "ce", False),
        "trades": ("stability", "kl", True),
        "thrm": ("hypocritical", "ce", True),
    }
    assert crafting("pgd_at", 0) is not None
    assert crafting("thrm", 1e-9) is not None
