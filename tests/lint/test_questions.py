"""The lint's own arithmetic, where the right answer is known beforehand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.data import Dataset, Source
from fftune.errors import ModelError
from fftune.keyed_noise import Noise
from fftune.lint.derivatives import (
    Slopes,
    epsilon,
    gradients,
    in_float64,
    points,
    random_signs,
    slopes,
)
from fftune.lint.questions import Remark, lint

THREAT = ThreatModel(eps=0.05)


class Quadratic(nn.Module):
    """Logits (0, w.x + |x|^2): the margin of class 0 has gradient w + 2 x."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        score = flat @ self.weight + flat.square().sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


def test_slopes_of_a_quadratic_net_are_those_of_calculus() -> None:
    net, x = Quadratic(12).requires_grad_(False), torch.rand(3, 3, 2, 2)
    ids, y = torch.arange(3), torch.zeros(3, dtype=torch.int64)
    at = points(x, THREAT, Noise(0), ids)
    signs = random_signs(x, Noise(0), ids)
    found = slopes(net, gradients(net, at, torch.cat([y, y])), signs)
    true = net.weight + 2 * at.flatten(1)
    expected = torch.stack(
        [(true * d.flatten(1)).sum(1) for d in (true.sign().view_as(at), *signs)]
    )
    for measured in (found.predicted, found.near, found.far):
        torch.testing.assert_close(measured, expected.T.double(), rtol=1e-3, atol=1e-3)
    assert found.precision == torch.float64 and found.doubt() is None


def test_points_lie_in_the_ball_and_signs_are_all_there() -> None:
    x, ids = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1).expand(3, 1, 8, 8), torch.arange(3)
    at = points(x, THREAT, Noise(1), ids)
    assert len(at) == 6 and float(at.min()) > 0 and float(at.max()) < 1
    assert float((at[:3] - x).abs().max()) <= 0.002001
    assert 0.04 < float((at[3:] - x).abs().max()) <= 0.05001
    signs = random_signs(x, Noise(1), ids)
    assert signs.shape == (8, 6, 1, 8, 8) and set(signs.unique().tolist()) == {-1, 1}


def measured(said: Tensor, near: Tensor, far: Tensor, bends: Tensor | None = None) -> Slopes:
    bends = torch.zeros_like(said) if bends is None else bends
    return Slopes(
        predicted=said, near=near, far=far, bends=bends,
        rounding=torch.full((len(said),), 1e-6), rounding_far=torch.full((len(said),), 1e-6),
        precision=torch.float64,
    )  # fmt: skip


def test_two_points_are_enough_for_a_doubt_and_kinks_are_none() -> None:
    said = torch.ones(8, 9, dtype=torch.float64)
    off = said.clone()
    off[:2] = 0.8
    assert "is off by" in measured(said, off, said).doubt()
    off[1] = 0.95
    assert measured(said, off, said).doubt() is None
    off[:2] = 0.8
    kinks = torch.zeros_like(said)
    kinks[:2] = 0.5
    assert measured(said, off, said, kinks).doubt() is None
    assert "holds for steps of 1e-06 alone" in measured(said, said, -said).doubt()
    assert measured(said, said, 0.5 * said).doubt() is None
    assert measured(1e-7 * said, -1e-7 * said, said).doubt() is None  # rounding alone


def test_a_doubt_counts_points_and_images_and_how_far_those_are_off() -> None:
    """Point 12 is image 0 again; the true slopes are 1, said as .5 and .2: off by 50 % and 80 %."""
    true = torch.ones(24, 9, dtype=torch.float64)
    said = true.clone()
    said[0], said[12], said[5] = 0.5, 0.2, 0.2
    told = measured(said, true, true).doubt()
    assert "by more than 10% " in told and "at 3 of 24 points (2 of 12 images)" in told
    assert "there by 80% (median)" in told
    for loose in (
        replace(measured(said, true, true), precision=torch.float32),
        replace(measured(said, true, true), exact=False),
    ):
        assert loose.doubt() is None  # 3 of 24 are less than a quarter
    said[:5] = 0.2
    loose = replace(loose, predicted=said)
    assert "by more than 40% " in loose.doubt() and "at 7 of 24 points" in loose.doubt()


def test_a_longer_step_that_is_all_rounding_says_nothing() -> None:
    said = torch.ones(8, 9, dtype=torch.float64)
    found = measured(said, said, -said)
    assert found.doubt() is not None
    assert replace(found, rounding_far=torch.full((8,), 0.2)).doubt() is None


def test_the_coarsest_precision_on_the_way_is_found() -> None:
    """Parameters say nothing of `autocast`; eps of bfloat16 is 2^-7, of float32 2^-23."""

    class Cast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x).float()

    x = torch.rand(2, 4)
    assert epsilon(Cast(4, 3), x) == 2**-7 and epsilon(nn.Linear(4, 3), x) == 2**-23
    assert epsilon(nn.Linear(5, 3), x) == 2**-23  # it cannot be asked


def test_a_net_that_rounds_inside_is_not_asked_in_float64() -> None:
    class Rounds(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.float().to(self.weight.dtype).flatten(1))

    x = torch.rand(2, 1, 2, 2)
    assert in_float64(Rounds(4, 3), x) is None
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    assert in_float64(plain, x)(x.double()).dtype == torch.float64
    assert plain[1].weight.dtype == torch.float32


class Reads(nn.Module):
    """Right about as many images as their first pixel says."""

    def forward(self, x: Tensor) -> Tensor:
        return 5 * x.flatten(1)[:, :2]


@pytest.mark.parametrize(
    ("right", "total", "said"),
    [(100, 200, True), (106, 200, True), (130, 200, False), (3, 3, False), (1, 3, False)],
)
def test_chance_is_told_where_so_many_examples_can_tell(right, total, said) -> None:
    """Wilson's interval of 106 of 200 begins at .461, of 130 at .582; 1 of 3 may be anything."""
    y = torch.arange(total) % 2
    shown = torch.where(torch.arange(total) < right, y, 1 - y)
    pixels = torch.zeros(total, 1, 2, 2, dtype=torch.uint8)
    pixels.view(total, 4)[torch.arange(total), shown] = 200
    source = Source(name="two", classes=("a", "b"), mean=(0.5,), std=(0.5,))
    data = Dataset(source=source, split="test", ids=torch.arange(total), pixels=pixels, y=y)
    found = lint(Reads(), data, threat=THREAT, noise=Noise(0))
    assert ("no-better-than-chance" in {remark.code for remark in found}) == said


def test_a_good_net_has_no_remark_and_random_states_are_left_as_they_were(toy, blobs) -> None:
    toy.requires_grad_(False)
    before = torch.get_rng_state()
    try:
        assert lint(toy, blobs, threat=THREAT, noise=Noise(0)) == ()
    finally:
        toy.requires_grad_(True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_remark_is_one_line_that_begins_with_its_code(toy, blobs) -> None:
    others = replace(blobs, y=(blobs.y + 4) % 8)
    (remark,) = lint(toy, others, threat=THREAT, noise=Noise(0))
    assert isinstance(remark, Remark) and "\n" not in str(remark)
    assert str(remark).startswith("no-better-than-chance: clean accuracy 0.0%")
    assert "no better than chance, 1 of 8" in str(remark)


def test_a_net_that_cannot_be_asked_for_differences_is_refused_in_one_line(toy, blobs) -> None:
    class Shy(nn.Module):
        """Fails on the second batch of 24, as the points are: the first is differentiated."""

        def __init__(self) -> None:
            super().__init__()
            self.asked = 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += len(x) == 24
            if self.asked > 1:
                raise RuntimeError("no more")
            return toy(x)

    with pytest.raises(ModelError, match="^net's gradient cannot be compared: no more$"):
        lint(Shy().eval(), blobs, threat=THREAT, noise=Noise(0))


def test_images_are_float32_whatever_the_default_is(blobs) -> None:
    _, plain, _ = next(blobs.batches(5))
    torch.set_default_dtype(torch.float64)
    try:
        _, x, _ = next(blobs.batches(5))
    finally:
        torch.set_default_dtype(torch.float32)
    assert x.dtype == torch.float32 and torch.equal(x, plain)
