"""A net behind a defense: what it says, whose slope it has, and which draws it takes."""

import pytest
import torch
from torch import Tensor, nn

from fftune.attacks.iteration import answer, value_and_gradient
from fftune.attacks.losses import AttackObjective
from fftune.attacks.query_counter import BatchIndexed, QueryCounter
from fftune.config import HedgeConfig
from fftune.defenses import AdaptiveAccess, Defended, Hedge, hedge
from fftune.keyed_noise import ExampleNoise, Noise

HEDGE = HedgeConfig(eps_d=0.1, steps=2)
DEFENDER = Noise(1).fold("defense", "digits", "test")
IDS = torch.tensor([5, 17, 3, 8])


class Squares(nn.Module):
    """Logits (sum of x^2, sum of x, 1): the slopes are 2 x, 1 and 0."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return torch.stack([(flat**2).sum(1), flat.sum(1), torch.ones(len(x))], 1)


@pytest.fixture
def net() -> nn.Module:
    return Squares()


@pytest.fixture
def images(rng) -> Tensor:
    return torch.rand(4, 2, 2, 2, generator=rng)


def hedged(net: nn.Module, x: Tensor, noise: Noise, config: HedgeConfig = HEDGE) -> Tensor:
    return hedge(net, x, config=config, noise=noise, ids=IDS)


def slope(net: nn.Module, x: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """(B, K) logits, and (B, C, H, W): the derivative of a class's logit."""
    x = x.clone().requires_grad_()
    logits = net(x)
    (grad,) = torch.autograd.grad(logits[:, label].sum(), x)
    return logits.detach(), grad


def test_the_slope_is_that_at_the_hedged_point(net, images) -> None:
    """2 x_hed, not 2 x: the defense is taken for the identity on the way back."""
    noise = DEFENDER.fold(0)
    x_hed = hedged(net, images, noise)
    assert not torch.allclose(x_hed, images, atol=0.01)
    logits, grad = slope(
        Defended(net, Hedge(config=HEDGE), noise=ExampleNoise(noise, IDS)), images, 0
    )
    assert torch.equal(logits, Squares()(x_hed))
    torch.testing.assert_close(grad, 2 * x_hed)
    _, ones = slope(Defended(net, Hedge(config=HEDGE), noise=ExampleNoise(noise, IDS)), images, 1)
    assert torch.equal(ones, torch.ones_like(images))


def mixture(net: nn.Module, points: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, K) the log of the mean probability, and the slope of its class 0, by hand.

    d log mean_i p_i = sum_i p_i (d z_i - sum_j p_ij d z_ij) / sum_i p_i.
    """
    tops, bottoms, probabilities = [], [], []
    for x in points:
        z = net(x)
        p = z.exp() / z.exp().sum(1, keepdim=True)
        p0, p1 = (p[:, k].view(-1, 1, 1, 1) for k in (0, 1))
        tops.append(p0 * (2 * x - (p0 * 2 * x + p1)))
        bottoms.append(p0)
        probabilities.append(p)
    return torch.stack(probabilities).mean(0).log(), sum(tops) / sum(bottoms)


@pytest.mark.parametrize("draws", [2, 3, 5])
def test_several_draws_are_the_mixture_of_their_nets(draws: int, net, images) -> None:
    """In what it says and in its slope; each call takes the next draws."""
    noise, config = Noise(4).fold("eot"), HedgeConfig(eps_d=0.6, steps=0)
    defended = Defended(
        net, Hedge(config=config), noise=ExampleNoise(noise, IDS), draws=draws, fresh=True
    )
    for call in range(3):
        points = [hedged(net, images, noise.fold(call, d), config) for d in range(draws)]
        expected, expected_slope = mixture(net, points)
        logits, grad = slope(defended, images, 0)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(grad, expected_slope, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits.exp().sum(1), torch.ones(4))


@pytest.mark.parametrize("draws", [1, 2, 3])
def test_losses_of_several_draws_are_averaged_each_by_itself(draws: int, net, images) -> None:
    """CE(1) has the slope 2 x p_0 + p_1 - 1 at each draw's point; a success is one in most draws.

    The mixture's is another: it weighs each draw by how right it is.
    """
    noise, config, y = Noise(4).fold("eot"), HedgeConfig(eps_d=0.9, steps=0), torch.ones(4).long()
    aim = AttackObjective(goal="adversarial", loss="ce", y=y)
    behind, mixed = (
        Defended(
            net,
            Hedge(config=config),
            noise=ExampleNoise(noise, IDS),
            draws=draws,
            fresh=True,
            averaging=averaging,
        )
        for averaging in ("losses", "probabilities")
    )
    for call in range(2):
        points = [hedged(net, images, noise.fold(call, d), config) for d in range(draws)]
        losses, slopes, wins = [], [], []
        for x in points:
            z = net(x)
            p = z.exp() / z.exp().sum(1, keepdim=True)
            losses.append(-p[:, 1].log())
            p0, p1 = (p[:, k].view(-1, 1, 1, 1) for k in (0, 1))
            slopes.append(2 * x * p0 + p1 - 1)
            wins.append((z.argmax(1) != 1).long())
        at = value_and_gradient(behind, aim, images, lenient=False)
        torch.testing.assert_close(at.loss, sum(losses) / draws, rtol=0, atol=1e-5)
        torch.testing.assert_close(at.grad, sum(slopes) / draws, rtol=1e-4, atol=1e-5)
        assert at.won.tolist() == (2 * sum(wins) > draws).tolist()
        other = value_and_gradient(mixed, aim, images, lenient=False)
        assert torch.allclose(other.grad, at.grad, atol=1e-4) == (draws == 1)
    won, loss = answer(behind, aim, images)  # the third call's draws
    points = [hedged(net, images, noise.fold(2, d), config) for d in range(draws)]
    mean = sum(nn.functional.cross_entropy(net(x), y, reduction="none") for x in points) / draws
    torch.testing.assert_close(loss, mean)
    assert (
        won.tolist() == (2 * sum((net(x).argmax(1) != 1).long() for x in points) > draws).tolist()
    )


def test_half_of_the_draws_are_not_most_of_them(images) -> None:
    """Four draws, of which one, two, three and four say another class than y."""

    class Drawn(BatchIndexed):
        def answers(self, x: Tensor) -> list[Tensor]:
            fooled = torch.arange(4) + 1
            other = 0 * x.flatten(1).sum(1, keepdim=True) + torch.tensor([[1.0, 0.0]])
            return [torch.where((draw < fooled)[:, None], other, -other) for draw in range(4)]

    aim = AttackObjective(goal="adversarial", loss="margin", y=torch.ones(4).long())
    won, loss = answer(Drawn(), aim, images)
    assert won.tolist() == [False, False, True, True]
    assert loss.tolist() == [-0.5, 0, 0.5, 1]
    at = value_and_gradient(Drawn(), aim, images, lenient=False)
    assert at.won.tolist() == won.tolist()


def test_one_draw_leaves_the_logits_as_they_are(net, images) -> None:
    """Not their log softmax: losses like the margin or DLR must meet the net's own."""
    noise = DEFENDER.fold(2)
    defended = Defended(
        net, Hedge(config=HEDGE), noise=ExampleNoise(noise, IDS), draws=1, fresh=True
    )
    expected = net(hedged(net, images, noise.fold(0, 0)))
    assert torch.equal(defended(images), expected)
    assert defended.calls == 1


def test_by_default_it_is_one_draw_and_always_the_same(net, images) -> None:
    defended = Defended(net, Hedge(config=HEDGE), noise=ExampleNoise(DEFENDER, IDS))
    assert (defended.draws, defended.fresh, defended.calls) == (1, False, 0)
    assert torch.equal(defended(images), defended(images))
    assert torch.equal(defended(images), net(hedged(net, images, DEFENDER)))
    assert defended.calls == 3
    several = Defended(net, Hedge(config=HEDGE), noise=ExampleNoise(DEFENDER, IDS), draws=3)
    expected = net(hedged(net, images, DEFENDER)).log_softmax(1)
    torch.testing.assert_close(several(images), expected)


@pytest.mark.parametrize("fresh", [False, True])
def test_rows_of_it_are_the_same_net_for_these_examples(fresh: bool, net, images) -> None:
    """Selected after two calls, it goes on with the third; rows may repeat and be in any order."""
    noise, rows = Noise(6), torch.tensor([2, 0, 2])
    whole, other = (
        Defended(net, Hedge(config=HEDGE), noise=ExampleNoise(noise, IDS), draws=2, fresh=fresh)
        for _ in range(2)
    )
    for _ in range(2):
        whole(images), other(images)
    part = whole.select(rows)
    assert part.calls == 2 and part.draws == 2 and part.fresh is fresh
    assert part.noise.ids.tolist() == [3, 5, 3] and part.defense == Hedge(config=HEDGE)
    torch.testing.assert_close(part(images[rows]), other(images)[rows])


def test_the_passes_of_rows_are_counted_where_they_belong(net, images) -> None:
    counted = QueryCounter(net, net(images))
    part = Defended(counted, Hedge(config=HEDGE), noise=ExampleNoise(DEFENDER, IDS)).select(
        torch.tensor([3, 1])
    )
    with torch.no_grad():
        part(images[[3, 1]])
    assert counted.forwards.tolist() == [0, 3, 0, 3]  # two steps, and the verdict
    assert counted.backwards.tolist() == [0, 2, 0, 2]


def wrapped(access: AdaptiveAccess, net: nn.Module) -> Defended:
    return access.wrap(net, noise=ExampleNoise(Noise(9).fold("mine"), IDS), defender=DEFENDER)


@pytest.mark.parametrize("known", [0, 2])
def test_a_known_draw_is_the_defenders_own(known: int, net, images) -> None:
    """One draw, the same at each call, however many the attacker could average over."""
    behind = wrapped(AdaptiveAccess(defense=Hedge(config=HEDGE), leaked_draw=known, draws=4), net)
    expected = net(hedged(net, images, DEFENDER.fold(known)))
    assert torch.equal(behind(images), expected)
    assert torch.equal(behind(images), expected)
    assert not torch.equal(expected, net(hedged(net, images, DEFENDER.fold(1))))


def test_who_knows_no_draw_takes_fresh_ones_of_his_own(net, images) -> None:
    access = AdaptiveAccess(defense=Hedge(config=HEDGE), draws=2)
    assert access.leaked_draw is None and AdaptiveAccess(defense=Hedge(config=HEDGE)).draws == 1
    behind = wrapped(access, net)
    mine = Noise(9).fold("mine").fold("aware")
    for call in range(2):
        points = [hedged(net, images, mine.fold(call, draw)) for draw in range(2)]
        expected, _ = mixture(net, points)
        torch.testing.assert_close(behind(images), expected, rtol=0, atol=1e-5)
    single = wrapped(AdaptiveAccess(defense=Hedge(config=HEDGE)), net)
    assert torch.equal(single(images), net(hedged(net, images, mine.fold(0, 0))))


def test_the_search_inside_takes_no_gradient_of_the_attackers(net, images) -> None:
    """Backward goes through the net once a draw, not through the defense's own steps."""
    counted = QueryCounter(net, net(images))
    behind = Defended(
        counted, Hedge(config=HEDGE), noise=ExampleNoise(DEFENDER, IDS), draws=3, fresh=True
    )
    slope(behind, images, 1)
    assert counted.backwards.tolist() == [3 * (2 + 1)] * 4
