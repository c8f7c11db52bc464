import pytest
import torch

from fftune.objectives import crafting, loss_of, pgd_at, standard, thrm, trades

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


@pytest.mark.parametrize("objective", [thrm, trades])
def test_value_and_gradients_are_those_of_the_definition(objective, logits) -> None:
    """The gradient flows through p as well: the authors do not detach it."""
    found = torch.autograd.grad(objective(*logits, Y, lam=3.0), logits)
    expected = torch.autograd.grad(definition(*logits, 3.0), logits)
    assert objective(*logits, Y, lam=3.0).item() == pytest.approx(definition(*logits, 3.0).item())
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    swapped = definition(logits[1], logits[0], 3.0)
    assert objective(*logits, Y, lam=3.0).item() != pytest.approx(swapped.item(), rel=0.01)


def test_gradients_numerically(logits) -> None:
    for lam in (0.5, 20.0):
        assert torch.autograd.gradcheck(lambda a, b, lam=lam: thrm(a, b, Y, lam=lam), logits)
        assert torch.autograd.gradcheck(lambda a, b, lam=lam: trades(a, b, Y, lam=lam), logits)


def test_each_objective_takes_the_half_that_it_looks_at(logits) -> None:
    clean, pert = logits
    both = torch.cat([clean, pert])
    assert loss_of("pgd_at", pert, Y, lam=0) == pgd_at(pert, Y) == standard(pert, Y)
    assert loss_of("fast_at", pert, Y, lam=0) == pgd_at(pert, Y)
    assert loss_of("standard", clean, Y, lam=0) == standard(clean, Y)
    assert loss_of("thrm", both, Y, lam=2.0) == thrm(clean, pert, Y, lam=2.0)
    assert loss_of("trades", both, Y, lam=2.0) == trades(clean, pert, Y, lam=2.0)
    assert loss_of("thrm", clean, Y, lam=0.0) == standard(clean, Y)


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
