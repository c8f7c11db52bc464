"""Nets around a net as defenses: what they answer, what attackers see, and what is refused."""

import pytest
import torch

from fftune.defenses import AdaptiveAccess, Defended, DefenseSpec
from fftune.defenses.spec import answered
from fftune.errors import ConfigError
from fftune.evaluation.defended import predict
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.testing import check_defense
from fftune.testing.examples import random_images, small_net

NET, X = small_net((3, 6, 6), 4, 0), random_images(5, (3, 6, 6), 0)
DRAWN = ExampleNoise(Noise(4), torch.arange(5))


def noisy(model, x, noise, ids):
    return model(x + 0.2 * noise.normal(ids, tuple(x.shape[1:])).to(x))


def vote(model, x, *, noise, ids):
    said = [noisy(model, x, noise.fold(i), ids) for i in range(3)]
    return torch.stack([logits.softmax(1).round() for logits in said]).sum(0)


def soft(model, x, *, noise, ids):
    return torch.stack([noisy(model, x, noise.fold(i), ids) for i in range(3)]).mean(0)


VOTE = DefenseSpec(wrap=vote, passes=2)
SOFT = DefenseSpec(wrap=soft, passes=2, differentiable=True)
BOTH = DefenseSpec(wrap=vote, passes=2, surrogate=SOFT)


def gradient(net, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[:, 0].sum(), x)[0]


def copies() -> list[torch.Tensor]:
    noise = [DRAWN.noise.fold(i).normal(DRAWN.ids, (3, 6, 6)) for i in range(3)]
    return [NET(X + 0.2 * drawn).detach() for drawn in noise]


def test_a_wrapped_net_answers_in_the_nets_stead() -> None:
    expected = torch.stack([logits.softmax(1).round() for logits in copies()]).sum(0)
    for defense in (VOTE, BOTH):
        assert torch.equal(answered(defense, NET, X, DRAWN), expected)
    assert torch.equal(answered(SOFT, NET, X, DRAWN), torch.stack(copies()).mean(0))


def test_attackers_take_its_gradient_or_the_nets_own_or_that_of_a_surrogate() -> None:
    def behind(defense: DefenseSpec) -> Defended:
        access = AdaptiveAccess(defense=defense, leaked_draw=0)
        return access.wrap(NET, noise=DRAWN.fold("attacker"), defender=Noise(4))

    drawn = ExampleNoise(Noise(4).fold(0), DRAWN.ids)
    assert torch.equal(behind(SOFT)(X), answered(SOFT, NET, X, drawn))
    through = gradient(lambda x: answered(SOFT, NET, x, drawn), X)
    assert torch.equal(gradient(behind(SOFT), X), through)
    # A vote's own derivative is 0: its answer is the vote's, its gradient the bare net's.
    assert torch.equal(behind(VOTE)(X), answered(VOTE, NET, X, drawn))
    assert torch.equal(gradient(behind(VOTE), X), gradient(NET, X))
    assert torch.equal(behind(BOTH)(X), behind(SOFT)(X))
    assert torch.equal(gradient(behind(BOTH), X), through)
    assert AdaptiveAccess(defense=BOTH).searched.passes == 2


def test_conformance_of_wrapped_nets() -> None:
    for defense in (VOTE, SOFT, BOTH):
        check_defense(defense)


def column(model, x, *, noise, ids):
    return model(x)[:, 0]


def few(model, x, *, noise, ids):
    return model(x)[:-1]


def nothing(model, x, *, noise, ids):
    return model(x).argmax(1).tolist()


def whole(model, x, *, noise, ids):
    return model(x).round().long()


def infinite(model, x, *, noise, ids):
    return model(x) / 0


def shares(model, x, *, noise, ids):
    return model(x).softmax(1)


@pytest.mark.parametrize(
    ("wrap", "said"),
    [
        (column, r"got \(5,\)"),
        (few, r"got \(4, 4\)"),
        (nothing, "got list"),
        (whole, "got values of torch.int64"),
        (infinite, "got values that are not finite"),
        (shares, "got probabilities, whose logarithm are logits"),
    ],
)
def test_what_are_no_logits_is_one_line(wrap, said: str) -> None:
    spec = DefenseSpec(wrap=wrap)
    with pytest.raises(ConfigError, match=rf"^defense '.*' must return logits of \(5, K\), {said}"):
        answered(spec, NET, X, DRAWN)
    with pytest.raises(AssertionError, match="must return logits of"):
        check_defense(spec)


def brighter(model, x, *, noise, ids):
    return x.add_(0.1)


def brightened(model, x, *, noise, ids):
    return model(x.mul_(0.5))


@pytest.mark.parametrize(
    "spec", [DefenseSpec(purify=brighter), DefenseSpec(wrap=brightened)], ids=["purify", "wrap"]
)
def test_a_defense_that_changes_the_images_it_is_given_is_one_line(spec: DefenseSpec) -> None:
    """The next draw, and the next defense, would be given what it has left."""
    with pytest.raises(ConfigError, match="^defense '.*' must not change the images that it is gi"):
        answered(spec, NET, X.clone(), DRAWN)


def unknown(model, x, *, noise, ids):
    return x / 0 * 0


def test_a_verdict_on_logits_that_are_not_finite_is_one_line() -> None:
    """The largest of nans would be class 0."""
    assert answered(DefenseSpec(purify=unknown), NET, X, DRAWN).isnan().any()
    with pytest.raises(ConfigError, match="^defense '.*' leads the net to logits that are not fi"):
        predict(NET, X, defense=DefenseSpec(purify=unknown), noise=DRAWN)


def unkeyed(model, x, *, noise, ids):
    return model(x) + torch.arange(len(x))[:, None].to(x)


def seven(model, x, *, noise, ids):
    return model(x).repeat(1, 2)[:, :7]


def detached(model, x, *, noise, ids):
    return model(x.detach()).detach()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (DefenseSpec(wrap=unkeyed), "wrap depends on the order"),
        (DefenseSpec(wrap=seven), r"wrap returned \(6, 7\), not \(6, 4\)"),
        (DefenseSpec(wrap=detached, differentiable=True), "autograd does not pass through it"),
        (DefenseSpec(wrap=soft, stochastic=False), "wrap is stochastic, and says it is not"),
        (DefenseSpec(wrap=detached, surrogate=DefenseSpec(wrap=unkeyed)), "depends on the order"),
        (DefenseSpec(wrap=vote, cheaper=DefenseSpec(wrap=seven)), r"wrap returned \(6, 7\)"),
    ],
)
def test_conformance_tells_of_a_broken_promise(spec: DefenseSpec, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        check_defense(spec)


def test_a_record_has_one_way_to_answer() -> None:
    for given in ({}, {"purify": few, "wrap": few}, {"wrap": few, "make": lambda *_: None}):
        with pytest.raises(ConfigError, match="must have one of purify, wrap and make"):
            DefenseSpec(**given)
