import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fftune.config import AttackConfig, Norm, ThreatModel
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.threat import distance, is_inside, project, start, step

IDS = torch.arange(4)


@given(
    norm=st.sampled_from(["linf", "l2"]),
    kind=st.sampled_from(["uniform", "gaussian", "narrow", "none"]),
    eps=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_starts_and_projections_stay_in_the_ball_and_in_the_box(norm, kind, eps, seed) -> None:
    x = torch.rand(4, 3, 5, 2, generator=torch.Generator().manual_seed(seed))
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=eps), start=kind)
    far = x + torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    for point in (start(x, config, ExampleNoise(Noise(seed), IDS)), project(far, x, config.threat)):
        assert (distance(point, x, norm) <= eps * (1 + 1e-5) + 1e-6).all()
        assert point.min() >= 0
        assert point.max() <= 1


def test_projection_by_hand() -> None:
    x = torch.tensor([0.5, 0.5]).view(1, 1, 1, 2)
    far = torch.tensor([0.9, 0.2]).view(1, 1, 1, 2)
    linf = project(far, x, ThreatModel(norm="linf", eps=0.1))
    l2 = project(far, x, ThreatModel(norm="l2", eps=0.25))
    assert linf.flatten().tolist() == pytest.approx([0.6, 0.4])
    assert l2.flatten().tolist() == pytest.approx([0.7, 0.35])  # (.4, -.3) / .5 * .25


def test_projection_of_each_example_is_its_own() -> None:
    """Radii of rows of two channels by hand: (3, 4) / 5 in l_2; a box wall after the ball's."""
    x = torch.full((3, 2, 1, 1), 0.9)
    far = x + torch.tensor([[0.3, 0.4], [-0.3, -0.4], [0.03, -0.04]]).view(3, 2, 1, 1)
    l2 = project(far, x, ThreatModel(norm="l2", eps=0.25)).flatten(1)
    assert l2[0].tolist() == pytest.approx([1.0, 1.0])  # (.15, .2) leads out of the box
    assert l2[1].tolist() == pytest.approx([0.75, 0.7])
    assert l2[2].tolist() == pytest.approx([0.93, 0.86])
    linf = project(far, x, ThreatModel(norm="linf", eps=0.35)).flatten(1)
    assert linf[0].tolist() == [1, 1]
    assert linf[1].tolist() == pytest.approx([0.6, 0.55])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_the_walls_the_ball_alone_holds(norm: Norm) -> None:
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    free = ThreatModel(norm=norm, eps=0.25, clamp=False)
    walls = ThreatModel(norm=norm, eps=0.25)
    far = torch.tensor([-3.0, 1.0]).view(1, 1, 1, 2)
    assert project(far, x, free).flatten().tolist() == [-0.25, 1]
    assert project(far, x, walls).flatten().tolist() == [0, 1]
    far = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    assert project(far, x, free).flatten().tolist() == [0, 1.25]
    assert project(far, x, walls).flatten().tolist() == [0, 1]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_ball_without_radius_is_its_centre(norm: Norm) -> None:
    x = torch.rand(2, 1, 2, 2)
    assert project(x + 1, x, ThreatModel(norm=norm, eps=0)).equal(x)
    assert project(x, x, ThreatModel(norm=norm, eps=0.1)).equal(x)


def test_distances_by_hand() -> None:
    x = torch.zeros(2, 2, 1, 2)
    far = torch.tensor([[1.0, -5.0, 1.0, 3.0], [0.0, 0.0, 0.0, -0.5]]).view(2, 2, 1, 2)
    assert distance(far, x, "linf").tolist() == [5, 0.5]
    assert distance(far, x, "l2").tolist() == [6, 0.5]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_inside_is_up_to_rounding(norm: Norm) -> None:
    """eps x 1.00001 + .000001, in every example; and the box to the bit, unless it is off."""
    x = torch.full((2, 1, 1, 2), 0.5, dtype=torch.float64)
    threat = ThreatModel(norm=norm, eps=0.25)
    edge = 0.25 * (1 + 1e-5) + 1e-6

    def at(*moves: float) -> bool:
        moved = x.clone()
        moved[:, 0, 0, 0] += torch.tensor(moves, dtype=torch.float64)
        return is_inside(moved, x, threat)

    assert at(edge - 1e-9, 0) and at(0, -edge + 1e-9)
    assert not at(edge + 1e-9, 0) and not at(0, -edge - 1e-9)
    assert is_inside(x[:0], x[:0], threat)
    black = torch.zeros_like(x)
    assert is_inside(black + edge * torch.tensor([0.0, 1.0]).double(), black, threat)


@pytest.mark.parametrize("side", [-1, 1])
def test_inside_is_the_box_to_the_bit(side: int) -> None:
    wall = torch.full((1, 1, 1, 2), 0.5 + side / 2, dtype=torch.float64)
    beyond = wall.clone()
    beyond[0, 0, 0, 1] += side * 1e-12
    for norm in ("linf", "l2"):
        assert is_inside(wall, wall, ThreatModel(norm=norm, eps=0.1))
        assert not is_inside(beyond, wall, ThreatModel(norm=norm, eps=0.1))
        assert is_inside(beyond, wall, ThreatModel(norm=norm, eps=0.1, clamp=False))


def test_projection_leaves_inner_points_alone() -> None:
    x = torch.full((1, 1, 1, 2), 0.5)
    near = torch.tensor([0.51, 0.49]).view(1, 1, 1, 2)
    for norm in ("linf", "l2"):
        torch.testing.assert_close(project(near, x, ThreatModel(norm=norm, eps=0.3)), near)


def test_steps_by_hand() -> None:
    x, grad = torch.zeros(2, 1, 1, 2), torch.tensor([[3.0, -4.0], [0.0, 0.0]]).view(2, 1, 1, 2)
    linf, l2 = step(x, grad, 0.5, "linf"), step(x, grad, 0.5, "l2")
    assert linf.flatten(1).tolist() == [[0.5, -0.5], [0, 0]]
    assert l2.flatten(1).tolist() == [pytest.approx([0.3, -0.4]), [0, 0]]


def test_steps_of_an_examples_own_length() -> None:
    x, grad = torch.zeros(2, 1, 1, 2), torch.tensor([[3.0, -4.0], [5.0, 12.0]]).view(2, 1, 1, 2)
    length = torch.tensor([0.5, 1.3]).view(2, 1, 1, 1)
    assert step(x, grad, length, "linf").flatten(1).tolist() == [[0.5, -0.5], approx(1.3, 1.3)]
    assert step(x, grad, length, "l2").flatten(1).tolist() == [approx(0.3, -0.4), approx(0.5, 1.2)]
    assert step(x + 1, grad, length, "l2").flatten(1)[0].tolist() == approx(1.3, 0.6)


def approx(*values: float):
    return pytest.approx(list(values))


def test_a_start_at_x_is_x_itself_and_another_tensor() -> None:
    x = torch.rand(4, 1, 3, 3)
    begun = start(x, AttackConfig(start="none"), ExampleNoise(Noise(0), IDS))
    assert begun.equal(x)
    assert begun.data_ptr() != x.data_ptr()


CASES = [
    ("linf", "uniform"),
    ("l2", "uniform"),
    ("l2", "sphere"),
    ("linf", "gaussian"),
    ("l2", "gaussian"),
    ("linf", "narrow"),
]


@pytest.mark.parametrize(("norm", "kind"), CASES)
def test_starts_of_packed_rows_are_those_of_their_jobs(norm, kind) -> None:
    """To the bit what a loop over jobs begins with."""
    x = torch.rand(7, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.2), start=kind)
    noise = ExampleNoise(Noise(2), torch.tensor([7, 3, 9, 7, 3, 9, 1]))
    job = torch.tensor([1, 1, 1, 0, 0, 0, 2])
    begun = start(x, config, noise.of_jobs("pgd", jobs=(4, 5, 6), job=job))
    for place, number in enumerate((4, 5, 6)):
        at = job == place
        alone = start(x[at], config, noise.fold("pgd", number).select(at))
        assert torch.equal(begun[at], alone)
    assert not torch.equal(begun[0] - x[0], begun[3] - x[3])


@pytest.mark.parametrize(("norm", "kind"), [*CASES, ("linf", "none")])
def test_a_start_waits_for_no_device_and_stays_there(norm, kind) -> None:
    """A meta tensor has no values that could be read, and is not combined with a CPU's."""
    x, ids = torch.rand(4, 2, 3, 3, device="meta"), IDS.to("meta")
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.2), start=kind)
    noise = ExampleNoise(Noise(2), ids)
    for rows in (noise, noise.of_jobs("pgd", jobs=(0, 1), job=ids % 2)):
        begun = start(x, config, rows)
        assert begun.device == x.device and begun.shape == x.shape and begun.dtype == x.dtype


def grey(count: int, side: int, norm: Norm, kind, eps: float, noise=None, ids=None):
    """(count, side^2): how far starts lead from grey images."""
    x = torch.full((count, 1, side, side), 0.5, dtype=torch.float64)
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=eps), start=kind)
    ids = torch.arange(count) if ids is None else ids
    begun = start(x, config, ExampleNoise(noise or Noise(0), ids))
    assert begun.dtype == x.dtype
    return (begun - x).flatten(1)


@pytest.mark.parametrize(("norm", "kind"), CASES)
def test_starts_are_keyed_by_the_examples_ids(norm, kind) -> None:
    """Whoever else is in the batch, and in whatever order; other branches start elsewhere."""
    delta = grey(5, 3, norm, kind, 0.2, ids=torch.tensor([7, 3, 9, 3, 0]))
    some = grey(2, 3, norm, kind, 0.2, ids=torch.tensor([9, 7]))
    assert some[0].equal(delta[2]) and some[1].equal(delta[0])
    assert delta[1].equal(delta[3])
    assert not delta[0].equal(delta[1])
    other = grey(5, 3, norm, kind, 0.2, noise=Noise(0).fold("other"), ids=torch.arange(5))
    assert not other[0].equal(delta[4])


@pytest.mark.parametrize("count", [1, 3])
def test_a_round_start_is_what_the_noise_says(count: int) -> None:
    """A normal direction over its length, and for the ball a radius of u^(1/d), d = 8.

    Branches are named: the same seed starts at the same point in every version.
    """
    x, noise, ids = torch.full((count, 2, 2, 2), 0.5), Noise(3).fold("pgd", 0), IDS[:count]
    normal = noise.fold("direction").normal(ids, (2, 2, 2))
    radius = noise.fold("radius").uniform(ids, (1,))
    for kind in ("sphere", "uniform"):
        config = AttackConfig(threat=ThreatModel(norm="l2", eps=0.3), start=kind)
        begun = start(x, config, ExampleNoise(noise, ids))
        for i in range(count):
            far = 0.3 * normal[i] / normal[i].square().sum().sqrt()
            far = far * float(radius[i]) ** (1 / 8) if kind == "uniform" else far
            torch.testing.assert_close(begun[i], x[i] + far)


@pytest.mark.parametrize(("norm", "kind"), CASES)
def test_starts_lead_to_either_side_and_pixels_are_independent(norm, kind) -> None:
    """Means of 0 and no correlation between neighbours, to five errors of 4,000 draws."""
    delta = grey(4000, 2, norm, kind, 0.2)
    spread = delta.std(0)
    assert (delta.mean(0).abs() < 5 * spread / 4000**0.5).all()
    assert ((delta > 0).double().mean(0) - 0.5).abs().max() < 5 * 0.5 / 4000**0.5
    correlation = torch.corrcoef(delta.T) - torch.eye(4)
    assert correlation.abs().max() < 5 / 4000**0.5


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, 0.25), (0.25, 0.75), (0.75, 1.0)])
def test_a_uniform_start_is_uniform_in_the_cube(lowest: float, highest: float) -> None:
    share = (grey(2000, 2, "linf", "uniform", 0.2) / 0.4 + 0.5).flatten()
    assert 0 <= share.min() < 1e-3 and 1 - 1e-3 < share.max() <= 1
    within = ((share >= lowest) & (share < highest)).double().mean().item()
    p = highest - lowest
    assert within == pytest.approx(p, abs=5 * (p * (1 - p) / 8000) ** 0.5)


def test_a_uniform_start_is_uniform_in_the_round_ball() -> None:
    """Of d = 4 dimensions, the share within r of the radius is r^4; directions are all alike."""
    delta = grey(4000, 2, "l2", "uniform", 0.2)
    lengths = delta.norm(dim=1) / 0.2
    for radius in (0.25, 0.5, 0.75, 0.9, 1.0):
        p = radius**4
        within = (lengths <= radius + 1e-6).double().mean().item()
        assert within == pytest.approx(p, abs=5 * (p * (1 - p) / 4000) ** 0.5 + 1e-12)
    squares = (delta / delta.norm(dim=1, keepdim=True)).square().mean(0)
    assert squares.tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_a_start_on_the_sphere_is_eps_away_in_any_direction() -> None:
    """Of d = 9 dimensions, the mean of x_i^4 on the unit sphere is 3 / (d (d + 2))."""
    delta = grey(2000, 3, "l2", "sphere", 0.3)
    assert delta.norm(dim=1).tolist() == pytest.approx([0.3] * 2000, rel=1e-5)
    assert ((delta / 0.3) ** 4).mean().item() == pytest.approx(3 / 99, rel=0.05)


def test_a_uniform_start_is_what_the_noise_says() -> None:
    """x + eps (2 u - 1), as the papers' code has it, inside the box."""
    x, noise = torch.rand(4, 2, 3, 3), Noise(3).fold("pgd", 0)
    begun = start(x, AttackConfig(threat=ThreatModel(eps=0.3)), ExampleNoise(noise, IDS))
    share = noise.uniform(IDS, (2, 3, 3))
    torch.testing.assert_close(begun, (x + 0.3 * (2 * share - 1)).clamp(0, 1))
    assert (begun == 0).any() and (begun == 1).any()


def test_a_gaussian_start_is_gaussian_until_the_ball_cuts_it() -> None:
    """Shares within one and two deviations; a ball of half a deviation clips all beyond."""
    share = grey(100, 10, "linf", "gaussian", 0.5) / 0.01
    for k in (1.0, 2.0):
        p = math.erf(k / 2**0.5)
        within = (share.abs() <= k).double().mean().item()
        assert within == pytest.approx(p, abs=5 * (p * (1 - p) / 10000) ** 0.5)
    cut = grey(100, 10, "linf", "gaussian", 0.005)
    assert cut.abs().max().item() == pytest.approx(0.005)
    at_the_edge = (cut.abs() > 0.00499).double().mean().item()
    assert at_the_edge == pytest.approx(1 - math.erf(0.5 / 2**0.5), abs=0.03)


@pytest.mark.parametrize(("kind", "deviation"), [("gaussian", 0.01), ("narrow", 0.001)])
def test_gaussian_starts_have_their_deviation(kind, deviation: float) -> None:
    x = torch.full((4, 1, 100, 100), 0.5)
    delta = (
        start(x, AttackConfig(threat=ThreatModel(eps=0.5), start=kind), ExampleNoise(Noise(0), IDS))
        - x
    )
    assert delta.std().item() == pytest.approx(deviation, rel=0.02)  # 5 errors of 40,000 draws


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_uniform_start_fills_the_ball(norm: Norm) -> None:
    """Of d = 2 dimensions: half of the mass lies beyond 2^(-1/2) of the radius."""
    x, ids = torch.full((4000, 1, 1, 2), 0.5), torch.arange(4000)
    config = AttackConfig(threat=ThreatModel(norm=norm, eps=0.2))
    lengths = distance(start(x, config, ExampleNoise(Noise(0), ids)), x, norm)
    beyond = (lengths > 0.2 / 2**0.5).float().mean().item()
    assert abs(beyond - 0.5) < 5 * (0.25 / 4000) ** 0.5
