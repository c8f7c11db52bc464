"""Conformance test of training objectives: what the training loop relies on."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fftune.objectives import ObjectiveSpec, as_objective, find_objective

BATCH, CLASSES = 6, 4


def check_objective(
    objective: str | ObjectiveSpec | Callable[..., Any], *, lam: float = 2.0
) -> None:
    """Check a training objective on random logits.

    Its value must be a finite scalar with finite gradients for every batch of logits that it is
    computed on, a mean over the examples (a batch given twice, or in another order, changes
    nothing), and cross-entropy on the clean batch at lambda 0 if it is weighted. An objective
    with hooks instead of a loss passes if it names the net that it needs.

    Args:
        objective: a name or `FILE.py:NAME`, a record, or a plain function
            `loss(logits, logits_pert, y, *, lam)`.
        lam: the lambda to check at.

    Raises:
        AssertionError: it does not conform; the message says how.
        ConfigError: there is no such objective.
    """
    spec = find_objective(objective) if isinstance(objective, str) else as_objective(objective)
    assert (spec.loss is None) != (spec.hooks is None), "it must have a loss or hooks, not both"
    if spec.hooks is not None:
        assert spec.needs_model, "an objective with hooks must name the net that it needs"
        return
    rng = torch.Generator().manual_seed(0)
    joint = spec.crafting is not None and spec.crafting.joint
    halves = [torch.randn(BATCH, CLASSES, generator=rng) for _ in range(2 if joint else 1)]
    y = torch.randint(CLASSES, (BATCH,), generator=rng)
    value = spec.value(torch.cat(halves), y, lam=lam)
    assert value.shape == (), f"its value must be a scalar, got shape {tuple(value.shape)}"
    assert value.isfinite(), f"its value must be finite, got {float(value)}"
    _check_gradients(spec, halves, y, lam)
    _check_mean(spec, halves, y, lam)
    if spec.weighted:
        _check_lambda_zero(spec, halves[0], y)


def _check_gradients(spec: ObjectiveSpec, halves: list[Tensor], y: Tensor, lam: float) -> None:
    leaf = torch.cat(halves).requires_grad_()
    (slope,) = torch.autograd.grad(spec.value(leaf, y, lam=lam), leaf)
    assert slope.isfinite().all(), "its gradients must be finite"
    for half, name in zip(slope.split(BATCH), ("first", "perturbed"), strict=False):
        assert half.any(), f"its gradient for the {name} batch of logits must not vanish"


def _check_mean(spec: ObjectiveSpec, halves: list[Tensor], y: Tensor, lam: float) -> None:
    once = spec.value(torch.cat(halves), y, lam=lam)
    twice = spec.value(torch.cat([half.repeat(2, 1) for half in halves]), y.repeat(2), lam=lam)
    assert torch.allclose(once, twice, rtol=1e-4), "it must be a mean over the examples"
    back = spec.value(torch.cat([half.flip(0) for half in halves]), y.flip(0), lam=lam)
    assert torch.allclose(once, back, rtol=1e-4), "it must not depend on the order of examples"


def _check_lambda_zero(spec: ObjectiveSpec, clean: Tensor, y: Tensor) -> None:
    assert spec.crafting is not None, "a weighted objective must craft a perturbed batch"
    assert spec.loss is not None
    other = torch.zeros_like(clean)
    zero = torch.zeros(BATCH) if spec.all_lambdas else 0.0
    value = spec.loss(clean if spec.crafting.joint else None, other, y, lam=zero)
    same = torch.allclose(value, F.cross_entropy(clean, y), rtol=1e-5)
    assert same, "a weighted objective must be cross-entropy on the clean batch at lam = 0"
