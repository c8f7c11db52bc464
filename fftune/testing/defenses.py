"""Conformance tests of test-time defences."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.config import HedgeConfig
from fftune.defenses import AdaptiveAccess, Defense, DefenseSpec, Purify, defense_spec
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
    """Check a defence.

    Args:
        defense: its name, `FILE.py:NAME`, its record, or a `purify` function.

    Raises:
        AssertionError: it changes its arguments or the net, fails on some batch (an empty one is
            tried too), returns images of another shape or type or outside [0, 1], depends on the
            order of the batch, or an attacker's gradient does not pass through it.
    """
    made = _made(defense)
    purify = made.purify
    for count in (6, 1, 0):
        net, x = small_net(SHAPE, CLASSES, count), random_images(count, SHAPE, count)
        ids = torch.arange(count) + 10
        with left_alone(net, x, ids):
            x_def = _purified(purify, net, x, ids)
        check_output("purify", x, x_def)
    net, ids = small_net(SHAPE, CLASSES, 3).double(), torch.arange(7) * 5
    x = random_images(7, SHAPE, 3).double()

    def run(rows: Tensor) -> Tensor:
        return purify(net, x[rows], noise=NOISE, ids=ids[rows])

    check_order("purify", 7, run)
    x_def = run(torch.arange(7))
    assert bool(((x_def >= 0) & (x_def <= 1)).all()), "purify returns pixels outside [0, 1]"
    _check_access(made)


def _purified(purify: Purify, net: nn.Module, x: Tensor, ids: Tensor) -> Tensor:
    try:
        return purify(net, x, noise=NOISE, ids=ids)
    except Exception as error:
        raise AssertionError(f"purify fails on a batch of {len(x)} images: {error}") from error


def _check_access(made: Defense) -> None:
    """The adaptive attacker's gradient at x is the bare net's at the purified image (BPDA), or
    that of the whole where the defence is differentiable.
    """
    net, x = small_net(SHAPE, CLASSES, 5), random_images(4, SHAPE, 5)
    ids, defender = torch.arange(4), NOISE.fold("defender")
    access = AdaptiveAccess(defense=made, leaked_draw=0)
    behind = access.wrap(net, noise=ExampleNoise(NOISE, ids), defender=defender)
    x_adv = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(behind(x_adv)[:, 0].sum(), x_adv)
    at = x.clone().requires_grad_()
    x_def = made.purify(net, at if made.differentiable else x, noise=defender.fold(0), ids=ids)
    if not made.differentiable:
        at = x_def = x_def.detach().requires_grad_()
    (expected,) = torch.autograd.grad(net(x_def)[:, 0].sum(), at)
    assert torch.allclose(grad, expected), "an attacker's gradient does not pass through it"


def _made(defense: str | DefenseSpec | Purify) -> Defense:
    spec = defense_spec(defense) if isinstance(defense, str) else defense
    if not isinstance(spec, DefenseSpec):
        return _Checked(purify=spec)
    if spec.purify is not None:
        return _Checked(purify=spec.purify, differentiable=spec.differentiable)
    assert spec.make is not None  # one of both is given
    return spec.make(HedgeConfig(eps_d=0.1, steps=3))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A defence of one function."""

    purify: Purify
    passes: int = 0
    needs_gradients: bool = False
    differentiable: bool = False
