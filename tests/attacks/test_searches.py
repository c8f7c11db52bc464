"""What every search promises, whatever the goal, the norm, the classes and the images."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fftune.attacks import attack_spec, success
from fftune.attacks.losses import is_defined
from fftune.config import AttackConfig, Goal, Loss, Norm, ThreatModel
from fftune.errors import ConfigError, DataError
from fftune.keyed_noise import Noise
from fftune.registry import ATTACKS
from fftune.threat import distance

NORMS: tuple[Norm, ...] = ("linf", "l2")
GOALS: tuple[Goal, ...] = (
    *("adversarial", "targeted", "hypocritical", "stability"),
    *("hedge", "label_free"),
)
LOSSES: tuple[Loss, ...] = ("ce", "margin", "dlr", "kl")
MARGIN_ONLY = ("cw", "deepfool", "fab", "rays")
STEPS: dict[str, int] = {"square": 40, "rays": 60, "deepfool": 5}


def cases() -> list[tuple[str, Goal, Loss, Norm]]:
    """Every search with every goal, loss and norm that it has."""
    return [
        (search, goal, loss, norm)
        for search in ATTACKS
        for goal in GOALS
        for loss in LOSSES
        for norm in NORMS
        if is_defined(goal, loss)
        and not (search in MARGIN_ONLY and loss != "margin")
        and not (search == "rays" and norm == "l2")
    ]


def net(shape: tuple[int, int, int], classes: int, seed: int) -> nn.Module:
    """A small net that is wrong about half of what it sees, with BatchNorm in it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        channels, height, width = shape
        model = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(4 * height * width, classes),
        )
    return model.eval()


def run(model, x, y, ids, *, search, goal, loss, norm, protocol="fixed", eps=0.1, targets=0):
    config = AttackConfig(
        threat=ThreatModel(norm=norm, eps=eps if norm == "linf" else 5 * eps),
        search=search,
        steps=STEPS.get(search, 6),
        targets=targets,
        protocol=protocol,
    )
    return attack_spec(search).run(
        model, x, y, config=config, goal=goal, loss=loss, noise=Noise(0).fold("t"), ids=ids
    )


@pytest.mark.parametrize(("search", "goal", "loss", "norm"), cases())
@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    shape=st.sampled_from([(1, 5, 5), (3, 4, 7), (3, 6, 3)]),
    classes=st.sampled_from([2, 3, 5]),
    count=st.integers(0, 4),
    seed=st.integers(0, 3),
    protocol=st.sampled_from(["fixed", "strong"]),
    targets=st.sampled_from([0, 9]),
)
def test_promises(search, goal, loss, norm, shape, classes, count, seed, protocol, targets) -> None:
    model, rng = net(shape, classes, seed), torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=rng)
    x.view(-1)[: 2 * count] = torch.arange(2 * count) % 2.0  # some pixels at the walls
    y = torch.randint(classes, (count,), generator=rng)
    before, state = x.clone(), {k: v.clone() for k, v in model.state_dict().items()}
    x_pert = run(
        model, x, y, torch.arange(count) + 10,
        search=search, goal=goal, loss=loss, norm=norm, protocol=protocol, targets=targets,
    )  # fmt: skip
    assert x_pert.shape == x.shape and x_pert.dtype == x.dtype and not x_pert.requires_grad
    assert torch.equal(x, before)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    if count:
        eps = 0.1 if norm == "linf" else 0.5
        assert distance(x_pert, x, norm).max() <= eps * (1 + 1e-5)
        assert x_pert.min() >= 0 and x_pert.max() <= 1


@pytest.mark.parametrize(
    ("search", "loss", "norm"),
    sorted({(s, loss, norm) for s, goal, loss, norm in cases() if goal == "hypocritical"}),
)
@pytest.mark.parametrize("protocol", ["fixed", "strong"])
def test_hypocritical_is_targeted_at_the_true_class(search, loss, norm, protocol) -> None:
    model, rng = net((3, 6, 6), 4, 1), torch.Generator().manual_seed(1)
    x = torch.rand(12, 3, 6, 6, generator=rng)
    y = (model(x).argmax(1) + 1) % 4  # all wrong
    kept = {"search": search, "loss": loss, "norm": norm, "protocol": protocol}
    hyp, target = (
        run(model, x, y, torch.arange(12), goal=goal, **kept)
        for goal in ("hypocritical", "targeted")
    )
    assert torch.equal(hyp, target)


@pytest.mark.parametrize(("search", "goal", "loss", "norm"), cases())
def test_strong_finds_no_less_than_fixed_in_double_precision(search, goal, loss, norm) -> None:
    """In float64 and on a smooth net no batch shape decides a verdict."""
    if goal == "hedge":
        pytest.skip("a defence has no success")
    model, rng = net((3, 6, 6), 4, 2).double(), torch.Generator().manual_seed(2)
    x = torch.rand(20, 3, 6, 6, generator=rng).double()
    clean = model(x).argmax(1)
    y = torch.where(torch.arange(20) < 10, clean, (clean + 1) % 4)
    fixed, strong = (
        success(goal, model(x_pert).argmax(1), clean, y)
        for x_pert in (
            run(model, x, y, torch.arange(20), search=search, goal=goal, loss=loss, norm=norm,
                protocol=protocol, eps=0.05)
            for protocol in ("fixed", "strong")
        )
    )  # fmt: skip
    assert bool((strong | ~fixed).all())


@pytest.mark.parametrize(("search", "norm"), [(s, n) for s in ATTACKS for n in NORMS])
@pytest.mark.parametrize("protocol", ["fixed", "strong"])
def test_neighbours_do_not_matter(search: str, norm: Norm, protocol) -> None:
    """Alone, in company, in another order: the same point, up to the last bits of float64."""
    if (search, norm) == ("rays", "l2"):
        pytest.skip("RayS is for linf")
    loss: Loss = "margin" if search in MARGIN_ONLY else "ce"
    model, rng = net((3, 6, 6), 4, 3).double(), torch.Generator().manual_seed(3)
    x = torch.rand(9, 3, 6, 6, generator=rng).double()
    y, ids = torch.randint(4, (9,), generator=rng), torch.arange(9) * 7
    kept = {"search": search, "goal": "adversarial", "loss": loss, "norm": norm}
    kept |= {"protocol": protocol, "eps": 0.04, "targets": 3}
    together = run(model, x, y, ids, **kept)
    order = torch.randperm(9, generator=rng)
    torch.testing.assert_close(run(model, x[order], y[order], ids[order], **kept), together[order])
    for i in range(9):
        one = slice(i, i + 1)
        torch.testing.assert_close(run(model, x[one], y[one], ids[one], **kept), together[one])


@pytest.mark.parametrize("search", ATTACKS)
def test_inputs_outside_the_unit_interval_are_refused(search: str) -> None:
    model, x = net((1, 4, 4), 3, 0), torch.rand(2, 1, 4, 4)
    loss: Loss = "margin" if search in MARGIN_ONLY else "ce"
    for bad in (255 * x, x - 1, torch.full_like(x, torch.nan)):
        with pytest.raises(DataError, match=r"inputs must lie in \[0, 1\]"):
            run(model, bad, torch.tensor([0, 1]), torch.arange(2), search=search,
                goal="adversarial", loss=loss, norm="linf")  # fmt: skip


def test_labels_outside_the_classes_are_refused() -> None:
    for y in (-1, 3):
        with pytest.raises(DataError, match="labels must be classes"):
            run(net((1, 4, 4), 3, 0), torch.rand(1, 1, 4, 4), torch.tensor([y]), torch.arange(1),
                search="apgd", goal="adversarial", loss="ce", norm="linf",
                protocol="strong")  # fmt: skip


@pytest.mark.parametrize("search", MARGIN_ONLY)
def test_searches_for_a_boundary_take_the_margin_only(search: str) -> None:
    with pytest.raises(ConfigError, match="must be 'margin'"):
        run(net((1, 4, 4), 3, 0), torch.rand(1, 1, 4, 4), torch.tensor([0]), torch.arange(1),
            search=search, goal="adversarial", loss="ce", norm="linf")  # fmt: skip


def test_later_restarts_start_elsewhere_and_take_only_what_is_open() -> None:
    model, rng = net((3, 6, 6), 4, 2).double(), torch.Generator().manual_seed(2)
    x = torch.rand(30, 3, 6, 6, generator=rng).double()
    y, ids = model(x).argmax(1), torch.arange(30)
    config = AttackConfig(threat=ThreatModel(eps=0.2), steps=0)  # nothing but the start
    one, five = (
        attack_spec("pgd").run(model, x, y, config=replace(config, restarts=restarts),
                        goal="adversarial", loss="ce", noise=Noise(0), ids=ids)
        for restarts in (1, 5)
    )  # fmt: skip
    fooled = model(one).argmax(1) != y
    assert torch.equal(one[fooled], five[fooled])
    assert bool(((model(five).argmax(1) != y) | ~fooled).all())
    assert not torch.equal(one, five)
