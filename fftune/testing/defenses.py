"""Conformance tests of test-time defenses."""

import torch
from torch import Tensor, nn

from fftune.config import DefenseConfig, ThreatModel
from fftune.defenses import AdaptiveAccess, Defense, DefenseSpec, Purify, defense_spec
from fftune.defenses.spec import answered
from fftune.errors import ConfigError
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.testing.examples import (
    check_order,
    check_output,
    left_alone,
    random_images,
    small_net,
)

SHAPE, CLASSES = (3, 6, 6), 4
NOISE = Noise(0).fold("conformance")


def check_defense(defense: str | DefenseSpec | Purify) -> None:
    """Check a defense, and those that attackers search through in its stead.

    Args:
        defense: its name, `FILE.py:NAME`, its record, or a `purify` function.

    Raises:
        AssertionError: it changes its arguments or the net, fails on some batch (an empty one is
            tried too), returns images of another shape or type or outside [0, 1], or what are no
            logits of the net's classes, depends on the order of the batch, draws noise though
            it is not `stochastic`, or an attacker's gradient does not pass through it.
    """
    made = _made(defense)
    _check(made)
    for one in (made.surrogate, made.cheaper):
        if one is not None and one != made:
            _check(one)


def _check(made: Defense) -> None:
    name = "purify" if made.wrap is None else "wrap"
    for count in (6, 1, 0):
        net, x = small_net(SHAPE, CLASSES, count), random_images(count, SHAPE, count)
        ids = torch.arange(count) + 10
        with left_alone(net, x, ids):
            found = _asked(made, net, x, ids)
        if made.wrap is None:
            check_output(name, x, found)
        else:
            got = tuple(found.shape)
            assert got == (count, CLASSES), f"wrap returned {got}, not {(count, CLASSES)}"
    net, ids = small_net(SHAPE, CLASSES, 3).double(), torch.arange(7) * 5
    x = random_images(7, SHAPE, 3).double()

    def run(rows: Tensor) -> Tensor:
        return _asked(made, net, x[rows], ids[rows]).detach()

    check_order(name, 7, run)
    if not made.stochastic:
        other = _asked(made, net, x, ids, NOISE.fold("other")).detach()
        assert torch.equal(other, run(torch.arange(7))), f"{name} is stochastic, and says it is not"
    if made.wrap is None:
        x_def = run(torch.arange(7))
        assert bool(((x_def >= 0) & (x_def <= 1)).all()), "purify returns pixels outside [0, 1]"
    if made.surrogate is None:
        _check_access(made)


def _asked(made: Defense, net: nn.Module, x: Tensor, ids: Tensor, noise: Noise = NOISE) -> Tensor:
    """(B, C, H, W) purified images, or (B, K) logits of a wrapped net."""
    name = "purify" if made.wrap is None else "wrap"
    try:
        if made.purify is not None:
            return made.purify(net, x, noise=noise, ids=ids)
        return answered(made, net, x, ExampleNoise(noise, ids))
    except ConfigError as error:
        raise AssertionError(str(error)) from error
    except Exception as error:
        raise AssertionError(f"{name} fails on a batch of {len(x)} images: {error}") from error


def _check_access(made: Defense) -> None:
    """The adaptive attacker's gradient at x is the bare net's, at the purified image where images
    are changed (BPDA), or that of the whole where the defense is differentiable.
    """
    net, x = small_net(SHAPE, CLASSES, 5), random_images(4, SHAPE, 5)
    ids, defender = torch.arange(4), NOISE.fold("defender")
    drawn = ExampleNoise(defender.fold(0), ids)
    behind = AdaptiveAccess(defense=made, leaked_draw=0).wrap(
        net, noise=ExampleNoise(NOISE, ids), defender=defender
    )
    x_adv = x.clone().requires_grad_()
    grad = _gradient(behind(x_adv), x_adv)
    at = x.clone().requires_grad_()
    if made.differentiable:
        expected = _gradient(answered(made, net, at, drawn), at)
    elif made.purify is not None:
        at = made.purify(net, x, noise=drawn.noise, ids=ids).detach().requires_grad_()
        expected = _gradient(net(at), at)
    else:
        expected = _gradient(net(at), at)
    assert torch.allclose(grad, expected), "an attacker's gradient does not pass through it"


def _gradient(logits: Tensor, x: Tensor) -> Tensor:
    """Gradient of the first logits' sum, where one leads to the pixels and is not zero."""
    assert logits.requires_grad, "differentiable, but autograd does not pass through it"
    (grad,) = torch.autograd.grad(logits[:, 0].sum(), x, materialize_grads=True)
    assert bool(grad.any()), "differentiable, but its gradient is zero"
    return grad


def _made(defense: str | DefenseSpec | Purify) -> Defense:
    spec = defense_spec(defense) if isinstance(defense, str) else defense
    if not isinstance(spec, DefenseSpec):
        return DefenseSpec(purify=spec)
    if spec.make is None:
        return spec
    return spec.make(DefenseConfig(steps=3), ThreatModel(eps=0.1))
