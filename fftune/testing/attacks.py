"""Conformance tests of attacks: what every search function promises, for every goal and norm."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from fftune.attacks import AttackSpec, SearchFunction, attack_spec, success
from fftune.attacks.losses import is_defined
from fftune.config import AttackConfig, Goal, Loss, Norm, ThreatModel
from fftune.errors import DataError
from fftune.keyed_noise import Noise
from fftune.testing.examples import (
    check_order,
    check_output,
    left_alone,
    random_images,
    random_labels,
    small_net,
)
from fftune.threat import distance

GOALS: tuple[Goal, ...] = (
    *("adversarial", "targeted", "hypocritical", "stability"),
    *("hedge", "label_free"),
)
EPS: dict[Norm, float] = {"linf": 0.1, "l2": 0.5}
SHAPE, CLASSES = (3, 6, 6), 4


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCase:
    """One combination of goal, loss and norm that an attack is run with."""

    goal: Goal
    loss: Loss
    norm: Norm

    def __str__(self) -> str:
        return f"{self.goal}-{self.loss}-{self.norm}"


def attack_cases(spec: AttackSpec) -> Iterator[AttackCase]:
    """Every combination that the record of an attack says it supports."""
    for goal in GOALS:
        for loss in spec.losses:
            for norm in spec.norms:
                if is_defined(goal, loss):
                    yield AttackCase(goal=goal, loss=loss, norm=norm)


def check_attack(attack: str | AttackSpec | SearchFunction, *, steps: int = 5) -> None:
    """Check an attack in every combination of goal, loss and norm that it supports.

    Args:
        attack: its name, `FILE.py:NAME`, its record, or a search function.
        steps: steps or queries of each search.

    Raises:
        AssertionError: it leaves the ball or [0, 1], changes its arguments, fails on an empty
            batch, depends on the order of the batch, or treats "hypocritical" otherwise than
            "targeted" at the true class.
    """
    spec = _spec(attack)
    for case in attack_cases(spec):
        check_attack_case(spec, case, steps=steps)


def check_attack_case(spec: AttackSpec, case: AttackCase, *, steps: int = 5) -> None:
    """Check an attack in one combination; see `check_attack`.

    Raises:
        AssertionError: it does not keep a promise.
    """
    for protocol in spec.protocols:
        config = AttackConfig(
            threat=ThreatModel(norm=case.norm, eps=EPS[case.norm]),
            steps=steps,
            targets=2,
            protocol=protocol,
        )
        for count, shape, classes in ((0, SHAPE, CLASSES), (1, (1, 5, 5), 2), (6, SHAPE, CLASSES)):
            check_promises(
                spec, case, config, shape=shape, classes=classes, count=count, seed=count
            )
        _check_company(spec, case, config)
        if case.goal == "hypocritical":
            _check_targeted(spec, case, config)
    _check_first_success(spec, case, steps)
    _check_last_success(spec, case, steps)
    _check_range(spec, case, steps)


def check_promises(
    spec: AttackSpec,
    case: AttackCase,
    config: AttackConfig,
    *,
    shape: tuple[int, int, int],
    classes: int,
    count: int,
    seed: int,
) -> None:
    """Check one run: inside the ball and [0, 1], detached, arguments and net left alone.

    Args:
        shape: (C, H, W) of the images.
        count: number of images, perhaps 0.
        seed: seed of net, images and labels.

    Raises:
        AssertionError: it does not keep a promise.
    """
    net, x = small_net(shape, classes, seed), random_images(count, shape, seed)
    y, ids = random_labels(count, classes, seed), torch.arange(count) + 10
    with left_alone(net, x, y, ids):
        x_pert = _run(spec, case, net, x, y, ids, config)
    check_output(f"{case}", x, x_pert)
    if count:
        away, eps = float(distance(x_pert, x, case.norm).max()), config.threat.eps
        assert away <= eps * (1 + 1e-5), f"{case}: {case.norm} distance {away:g} exceeds {eps:g}"
        low, high = float(x_pert.min()), float(x_pert.max())
        assert low >= 0 and high <= 1, f"{case}: pixels from {low:g} to {high:g} leave [0, 1]"


def _check_company(spec: AttackSpec, case: AttackCase, config: AttackConfig) -> None:
    net, x, y = _double(5, seed=3)
    ids = torch.arange(5) * 7

    def run(rows: Tensor) -> Tensor:
        return _run(spec, case, net, x[rows], y[rows], ids[rows], config)

    check_order(f"{case}, {config.protocol}", 5, run)


def _check_targeted(spec: AttackSpec, case: AttackCase, config: AttackConfig) -> None:
    net, x = small_net(SHAPE, CLASSES, 1), random_images(12, SHAPE, 1)
    y = (net(x).argmax(1) + 1) % CLASSES  # all wrong
    hyp, target = (
        _run(spec, replace(case, goal=goal), net, x, y, torch.arange(12), config)
        for goal in ("hypocritical", "targeted")
    )
    assert torch.equal(hyp, target), f"{case} differs from goal 'targeted' at the true class"


def _check_first_success(spec: AttackSpec, case: AttackCase, steps: int) -> None:
    """In float64 and on a smooth net no batch shape decides a prediction."""
    if case.goal == "hedge" or "first_success" not in spec.protocols:
        return
    net, x, _ = _double(20, seed=2)
    clean = net(x).argmax(1)
    y = torch.where(torch.arange(20) < 10, clean, (clean + 1) % CLASSES)
    threat = ThreatModel(norm=case.norm, eps=EPS[case.norm] / 2)
    config = AttackConfig(threat=threat, steps=steps)
    other, first = (
        success(
            case.goal,
            net(
                _run(spec, case, net, x, y, torch.arange(20), replace(config, protocol=protocol))
            ).argmax(1),
            clean,
            y,
        )
        for protocol in (spec.protocols[0], "first_success")
    )
    assert bool((first | ~other).all()), (
        f"{case}: protocol 'first_success' misses successes of {spec.protocols[0]!r}"
    )


def _check_last_success(spec: AttackSpec, case: AttackCase, steps: int) -> None:
    """Check that what is not fooled, or serves the goal when clean, is handed over as it was."""
    if case.goal == "hedge" or "last_success" not in spec.protocols:
        return
    net, x, y = _double(20, seed=2)
    config = AttackConfig(
        threat=ThreatModel(norm=case.norm, eps=EPS[case.norm] / 2),
        steps=steps,
        targets=2,
        protocol="last_success",
    )
    x_pert, clean = _run(spec, case, net, x, y, torch.arange(20), config), net(x).argmax(1)
    won = success(case.goal, net(x_pert).argmax(1), clean, y)
    kept = ~won | success(case.goal, clean, clean, y)
    assert torch.equal(x_pert[kept], x[kept]), f"{case}: 'last_success' moves what it did not fool"


def _check_range(spec: AttackSpec, case: AttackCase, steps: int) -> None:
    net, x = small_net((1, 4, 4), 3, 0), torch.rand(2, 1, 4, 4)
    config = AttackConfig(threat=ThreatModel(norm=case.norm, eps=EPS[case.norm]), steps=steps)
    for bad in (255 * x, x - 1, torch.full_like(x, torch.nan)):
        taken = False
        with contextlib.suppress(DataError):
            _run(spec, case, net, bad, torch.tensor([0, 1]), torch.arange(2), config)
            taken = True
        assert not taken, f"{case} takes pixels outside [0, 1]: call `search_state.begin`"


def _spec(attack: str | AttackSpec | SearchFunction) -> AttackSpec:
    if isinstance(attack, str):
        return attack_spec(attack)
    return attack if isinstance(attack, AttackSpec) else AttackSpec(run=attack)


def _run(
    spec: AttackSpec,
    case: AttackCase,
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    ids: Tensor,
    config: AttackConfig,
) -> Tensor:
    noise = Noise(0).fold("conformance")
    return spec.run(net, x, y, config=config, goal=case.goal, loss=case.loss, noise=noise, ids=ids)


def _double(count: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Net, images and labels in float64, where rounding decides nothing."""
    net = small_net(SHAPE, CLASSES, seed).double()
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *SHAPE, generator=rng).double()
    return net, x, torch.randint(CLASSES, (count,), generator=rng)
