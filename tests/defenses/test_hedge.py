import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.attacks import pgd
from fftune.attacks.losses import all_classes, kl
from fftune.config import AttackConfig, HedgeConfig, ThreatModel
from fftune.defenses import AdaptiveAccess, Defended, Hedge, hedge, refuse_without_gradients
from fftune.errors import ConfigError, ModelError
from fftune.keyed_noise import ExampleNoise, Noise

EPS = 0.1
CONFIG = HedgeConfig(eps_d=EPS, steps=5)
NOISE = Noise(7).fold("defense", "digits", "test", 0)


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Linear(16, 10))
    return layers.eval()


@pytest.fixture
def images(rng) -> torch.Tensor:
    return torch.rand(12, 3, 4, 4, generator=rng)


IDS = torch.arange(100, 112)


def plain_hedge(net, x, config: HedgeConfig, *, clamp: bool = True) -> torch.Tensor:
    """Wu et al. 2021, algorithm 1, as anybody would write it."""
    lower, upper = (0, 1) if clamp else (-math.inf, math.inf)
    drawn = 2 * NOISE.fold("pgd", 0).uniform(IDS, tuple(x.shape[1:])) - 1
    x_hed = (x + config.eps_d * drawn).clamp(lower, upper)
    for _ in range(config.steps):
        x_hed = x_hed.detach().requires_grad_()
        logits = net(x_hed)
        losses = [
            nn.functional.cross_entropy(logits, torch.full((len(x),), c), reduction="sum")
            for c in range(logits.shape[1])
        ]
        (grad,) = torch.autograd.grad(sum(losses), x_hed)
        x_hed = x_hed.detach() + config.step_length * grad.sign()
        x_hed = (x + (x_hed - x).clamp(-config.eps_d, config.eps_d)).clamp(lower, upper)
    return x_hed


@pytest.mark.parametrize("clamp", [True, False])
def test_it_is_algorithm_1(net, images, clamp) -> None:
    config = HedgeConfig(eps_d=EPS, steps=5, step_size=EPS / 2, clamp=clamp)
    x_hed = hedge(net, images, config=config, noise=NOISE, ids=IDS)
    torch.testing.assert_close(x_hed, plain_hedge(net, images, config, clamp=clamp))
    assert bool((x_hed.min() < 0) | (x_hed.max() > 1)) is not clamp
    assert CONFIG.step_length == EPS / 2  # P2's 4/255 for 8/255


def test_no_steps_are_uniform_noise_to_the_bit(net, images) -> None:
    none = hedge(net, images, config=replace(CONFIG, steps=0), noise=NOISE, ids=IDS)
    u = NOISE.fold("pgd", 0).uniform(IDS, (3, 4, 4))
    delta = (images + EPS * (2 * u - 1) - images).clamp(-EPS, EPS)
    assert torch.equal(none, (images + delta).clamp(0, 1))
    zero = HedgeConfig(eps_d=EPS, steps=0)
    assert torch.equal(none, hedge(net, images, config=zero, noise=NOISE, ids=IDS))
    direct = replace(CONFIG, steps=0, eps_d=0)
    assert torch.equal(images, hedge(net, images, config=direct, noise=NOISE, ids=IDS))


def test_sum_of_losses_is_a_divergence_from_uniform(rng) -> None:
    """Eq. 3.3, with its sign and its C put right: C KL(u || f) + C log C."""
    logits = 3 * torch.randn(50, 10, generator=rng)
    uniform = torch.full((50, 10), 1 / 10)
    identity = 10 * kl(uniform.log(), logits) + 10 * math.log(10)
    torch.testing.assert_close(all_classes(logits), identity, rtol=1e-5, atol=1e-5)
    by_hand = sum(
        nn.functional.cross_entropy(logits, torch.full((50,), c), reduction="none")
        for c in range(10)
    )
    torch.testing.assert_close(all_classes(logits), by_hand, rtol=1e-5, atol=1e-5)


def test_one_class_a_step_climbs_the_class_that_was_drawn(net, images) -> None:
    """Algorithm 4, by hand with the same draws; over examples and steps all classes come up."""
    config = HedgeConfig(eps_d=EPS, steps=3, classes="one")
    x_hed = hedge(net, images, config=config, noise=NOISE, ids=IDS)
    drawn = (NOISE.fold("classes").uniform(IDS, (3,)) * 10).long()
    assert drawn.unique().tolist() == list(range(10))
    start = hedge(net, images, config=replace(config, steps=0), noise=NOISE, ids=IDS)
    by_hand = start
    for k in range(3):
        by_hand = by_hand.detach().requires_grad_()
        loss = nn.functional.cross_entropy(net(by_hand), drawn[:, k], reduction="sum")
        (grad,) = torch.autograd.grad(loss, by_hand)
        by_hand = by_hand.detach() + EPS / 2 * grad.sign()
        by_hand = (images + (by_hand - images).clamp(-EPS, EPS)).clamp(0, 1)
    torch.testing.assert_close(x_hed, by_hand)


def test_l2_stays_in_its_ball_and_climbs(net, images) -> None:
    config = HedgeConfig(norm="l2", eps_d=0.5, steps=10)
    start = hedge(net, images, config=replace(config, steps=0), noise=NOISE, ids=IDS)
    x_hed = hedge(net, images, config=config, noise=NOISE, ids=IDS)
    assert (x_hed - images).flatten(1).norm(dim=1).max() <= 0.5 * (1 + 1e-5)
    assert bool((all_classes(net(x_hed)) > all_classes(net(start))).all())


def test_it_depends_on_seed_and_id_alone(net, images) -> None:
    whole = hedge(net, images, config=CONFIG, noise=NOISE, ids=IDS)
    order = torch.tensor([5, 0, 11])
    few = hedge(net, images[order], config=CONFIG, noise=NOISE, ids=IDS[order])
    torch.testing.assert_close(few, whole[order])
    other = hedge(net, images, config=CONFIG, noise=Noise(8).fold("defense"), ids=IDS)
    assert not torch.equal(other, whole)


def test_gradients_go_straight_through(net, images) -> None:
    """Eq. B.6: the gradient at x' is the bare net's at x''_K."""
    defended = Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE, IDS))
    x = images.clone().requires_grad_()
    (grad,) = torch.autograd.grad(defended(x)[:, 3].sum(), x)
    x_hed = hedge(net, images, config=CONFIG, noise=NOISE, ids=IDS).requires_grad_()
    (at_hedged,) = torch.autograd.grad(net(x_hed)[:, 3].sum(), x_hed)
    assert torch.equal(grad, at_hedged)
    with torch.no_grad():
        assert torch.equal(defended(images), net(x_hed))


def attack(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    config = AttackConfig(threat=ThreatModel(eps=EPS), steps=3)
    y = torch.arange(len(x)) % 10
    noise = Noise(0).fold("digits", "test")
    return pgd(model, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=IDS)


def test_algorithm_6_without_a_defense_is_pgd(net, images) -> None:
    """No steps leave the noise: only without a radius too is nothing left."""
    attacker = Noise(0).fold("digits", "test")

    def behind(config: HedgeConfig) -> nn.Module:
        access = AdaptiveAccess(defense=Hedge(config=config))
        return access.wrap(net, noise=ExampleNoise(attacker, IDS), defender=NOISE)

    assert torch.equal(
        attack(behind(replace(CONFIG, steps=0, eps_d=0)), images), attack(net, images)
    )
    assert not torch.equal(attack(behind(replace(CONFIG, steps=0)), images), attack(net, images))


def test_draws_are_mixed_by_their_mean_probability(net, images) -> None:
    fresh = Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE, IDS), draws=3, fresh=True)
    with torch.no_grad():
        singly = [
            Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE.fold(0, draw), IDS))(
                images
            ).softmax(1)
            for draw in range(3)
        ]
        torch.testing.assert_close(fresh(images).softmax(1), torch.stack(singly).mean(0))
        again = Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE.fold(1, 0), IDS))(
            images
        )
        fresh.draws = 1
        assert torch.equal(fresh(images), again)  # the second call draws anew
        fixed = Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE, IDS))
        assert torch.equal(fixed(images), fixed(images))


def test_attackers_know_no_draw_of_the_defender(net, images) -> None:
    """Not with equal seeds, nor with a data set of the defender's branch's name."""
    shape = tuple(images.shape[1:])
    attacker = Noise(7).fold("digits", "test").fold("aware")
    for names in (("pgd", 0), (0, 0, "pgd", 0)):
        mine = attacker.fold(*names).uniform(IDS, shape)
        theirs = NOISE.fold("pgd", 0).uniform(IDS, shape)
        assert not torch.equal(mine, theirs)
    known = AdaptiveAccess(defense=Hedge(config=CONFIG), leaked_draw=0)
    root = Noise(7).fold("defense", "digits", "test")
    wrapped = known.wrap(net, noise=ExampleNoise(attacker, IDS), defender=root)
    with torch.no_grad():
        defended = Defended(net, Hedge(config=CONFIG), noise=ExampleNoise(NOISE, IDS))
        assert torch.equal(wrapped(images), defended(images))


@pytest.mark.parametrize("forward", [torch.round, torch.detach])
def test_a_net_without_gradients_is_refused(forward) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(48, 10)

        def forward(self, x):
            return self.fc(forward(x.flatten(1)))

    with pytest.raises(ModelError, match="input gradients"):
        refuse_without_gradients(Flat(), torch.rand(4, 3, 4, 4))


@pytest.mark.parametrize(
    ("setting", "value"), [("eps_d", -0.1), ("eps_d", math.nan), ("steps", -1), ("step_size", -1.0)]
)
def test_bad_settings_are_one_line(setting, value) -> None:
    with pytest.raises(ConfigError, match=f"{setting} must be") as caught:
        HedgeConfig(**{setting: value})
    assert "\n" not in str(caught.value)
