"""Conformance tests of test-time defences."""

import torch
from torch import Tensor

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
        AssertionError: it changes its arguments or the net, fails on an empty batch, returns
            images of another shape or type, depends on the order of the batch, or an attacker's
            gradient does not pass straight through it.
    """
    purify = _purify(defense)
    for count in (0, 1, 6):
        net, x = small_net(SHAPE, CLASSES, count), random_images(count, SHAPE, count)
        ids = torch.arange(count) + 10
        with left_alone(net, x, ids):
            x_def = purify(net, x, noise=NOISE, ids=ids)
        check_output("purify", x, x_def)
    net, ids = small_net(SHAPE, CLASSES, 3).double(), torch.arange(7) * 5
    x = random_images(7, SHAPE, 3).double()

    def run(rows: Tensor) -> Tensor:
        return purify(net, x[rows], noise=NOISE, ids=ids[rows])

    check_order("purify", 7, run)
    _check_access(purify)


def _check_access(purify: Purify) -> None:
    """The adaptive attacker's gradient at x is the bare net's at the purified image (BPDA)."""
    net, x = small_net(SHAPE, CLASSES, 5), random_images(4, SHAPE, 5)
    ids, defender = torch.arange(4), NOISE.fold("defender")
    access = AdaptiveAccess(defense=_Checked(purify), leaked_draw=0)
    behind = access.wrap(net, noise=ExampleNoise(NOISE, ids), defender=defender)
    x_adv = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(behind(x_adv)[:, 0].sum(), x_adv)
    x_def = purify(net, x, noise=defender.fold(0), ids=ids).requires_grad_()
    (expected,) = torch.autograd.grad(net(x_def)[:, 0].sum(), x_def)
    assert torch.allclose(grad, expected), "an attacker's gradient does not pass straight through"


class _Checked:
    """A defence of one function."""

    passes, needs_gradients = 0, False

    def __init__(self, purify: Purify) -> None:
        self.purify = purify


def _purify(defense: str | DefenseSpec | Purify) -> Purify:
    spec = defense_spec(defense) if isinstance(defense, str) else defense
    if not isinstance(spec, DefenseSpec):
        return spec
    if spec.purify is not None:
        return spec.purify
    assert spec.make is not None  # one of both is given
    made: Defense = spec.make(HedgeConfig(eps_d=0.1, steps=3))
    return made.purify
