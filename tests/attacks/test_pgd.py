import pytest
import torch
from torch import nn

from fftune.attacks import pgd
from fftune.attacks.losses import kl
from fftune.config import AttackConfig, DataSpec, Goal, Norm, ThreatModel
from fftune.data import load
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import eval_mode, make_model
from fftune.threat import start

EPS = 0.05


def inside(rng: torch.Generator, count: int = 5) -> torch.Tensor:
    """Images so far from 0 and 1 that the walls do not matter."""
    return torch.rand(count, 3, 2, 2, generator=rng) * 0.8 + 0.1


@pytest.mark.parametrize(("goal", "direction"), [("adversarial", -1), ("hypocritical", 1)])
def test_linf_reaches_the_closed_form_optimum(goal: Goal, direction, linear, rng, noise) -> None:
    x, y, ids = inside(rng), torch.ones(5, dtype=torch.long), torch.arange(5)
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=20)
    before = x.clone()

    x_pert = pgd(linear, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)

    best = x + direction * EPS * linear.weight.detach().sign().view(3, 2, 2)
    torch.testing.assert_close(x_pert, best)
    assert torch.equal(x, before)
    assert linear.weight.grad is None
    assert linear.weight.requires_grad
    assert not x_pert.requires_grad


@pytest.mark.parametrize(("goal", "direction"), [("adversarial", -1), ("hypocritical", 1)])
def test_l2_reaches_the_closed_form_optimum(goal: Goal, direction, linear, rng, noise) -> None:
    x, y, ids = inside(rng), torch.ones(5, dtype=torch.long), torch.arange(5)
    config = AttackConfig(threat=ThreatModel(norm="l2", eps=EPS), steps=50)

    x_pert = pgd(linear, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)

    weight = linear.weight.detach()
    best = x + direction * EPS * (weight / weight.norm()).view(3, 2, 2)
    torch.testing.assert_close(x_pert, best, rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_walls_hold(norm: Norm, linear, rng, noise) -> None:
    x, y, ids = torch.rand(5, 3, 2, 2, generator=rng).round(), torch.ones(5).long(), torch.arange(5)
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.4), steps=5)

    x_pert = pgd(linear, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=ids)

    assert x_pert.min() >= 0
    assert x_pert.max() <= 1


def test_targeted_at_the_true_class_is_hypocritical(linear, rng, noise) -> None:
    x, y, ids = inside(rng), torch.tensor([0, 1, 0, 1, 1]), torch.arange(5)
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=3)
    targeted, hypocritical = (
        pgd(linear, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)
        for goal in ("targeted", "hypocritical")
    )
    assert torch.equal(targeted, hypocritical)


def test_stability_climbs_the_divergence_from_the_clean_prediction(linear, rng, noise) -> None:
    """From its random start it ends at one of the two corners that a linear score has."""
    x, y, ids = inside(rng), torch.ones(5, dtype=torch.long), torch.arange(5)
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=10)
    x_pert = pgd(linear, x, y, config=config, goal="stability", loss="kl", noise=noise, ids=ids)

    corner = EPS * linear.weight.detach().sign().view(3, 2, 2)
    corners = torch.stack([kl(linear(x), linear(x + s * corner)) for s in (1, -1)])
    reached = kl(linear(x), linear(x_pert))
    assert torch.isclose(reached, corners, rtol=1e-3).any(0).all()
    assert (reached > 0.01 * corners.amax(0)).all()


def test_an_example_does_not_depend_on_its_neighbours(noise: Noise) -> None:
    """Equal to rounding for every batch size and order; equal to the bit for equal blocks."""
    data_rng = torch.Generator().manual_seed(1)
    x, ids = torch.rand(14, 1, 8, 8, generator=data_rng), torch.arange(100, 114)
    y = torch.randint(10, (14,), generator=data_rng)
    model = small_model()
    config = AttackConfig(threat=ThreatModel(eps=0.1), steps=5)

    def attack(rows: torch.Tensor) -> torch.Tensor:
        return pgd(
            model,
            x[rows],
            y[rows],
            config=config,
            goal="adversarial",
            loss="ce",
            noise=noise,
            ids=ids[rows],
        )

    with eval_mode(model):
        whole = attack(torch.arange(14))
        assert torch.equal(whole, attack(torch.arange(14)))
        order = torch.randperm(14, generator=data_rng)
        torch.testing.assert_close(attack(order), whole[order])
        singly = torch.cat([attack(torch.tensor([i])) for i in range(14)])
        torch.testing.assert_close(singly, whole)


def small_model() -> nn.Module:
    from fftune.config import InputSpec

    inputs = InputSpec(shape=(1, 8, 8), classes=10, mean=(0.3,), std=(0.4,))
    return make_model("small_cnn", inputs)


def plain_pgd(model, x, y, config: AttackConfig, goal: Goal, noise: Noise, ids) -> torch.Tensor:
    """The loop of Madry et al. 2018 as anybody would write it."""
    sign = 1 if goal == "adversarial" else -1
    x_pert = start(x, config, ExampleNoise(noise.fold("pgd", 0), ids))
    for _ in range(config.steps):
        x_pert.requires_grad_()
        loss = sign * nn.functional.cross_entropy(model(x_pert), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, x_pert)
        x_pert = x_pert.detach() + config.step_length * grad.sign()
        x_pert = (x + (x_pert - x).clamp(-EPS, EPS)).clamp(0, 1)
    return x_pert


@pytest.mark.parametrize("goal", ["adversarial", "hypocritical"])
def test_it_is_the_plain_loop_to_the_bit(goal: Goal, noise) -> None:
    data = load(DataSpec(), "test")
    model = make_model("small_cnn", data.inputs).eval()
    ids, x, y = next(data.batches(64))
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=20)
    x_pert = pgd(model, x, y, config=config, goal=goal, loss="ce", noise=noise, ids=ids)
    assert torch.equal(x_pert, plain_pgd(model, x, y, config, goal, noise, ids))
