"""Traces of friends on linear nets, where the friend's optimum is known in closed form."""

import pytest
import torch

from fftune.config import ThreatModel
from fftune.forensics.friends import Craft
from fftune.forensics.traces import NAMES, measured, smoothed, traces
from fftune.forensics.whitening import Whitening
from fftune.keyed_noise import Noise
from tests.forensics.nets import SIDE, Linear, small_net, smooth_images

EPS = 8 / 255


def linear(seed: int = 0) -> tuple[Linear, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    weight = torch.randn(1, SIDE, SIDE, generator=draws)
    weight -= weight.mean()
    return Linear(weight).requires_grad_(False), weight


def craft(net, margins=(0.5,), score=None) -> Craft:
    return Craft(
        net=net,
        threat=ThreatModel(eps=EPS),
        noise=Noise(0),
        margins=torch.tensor(margins),
        score=score or (lambda x, _: x.flatten(1).sum(1) * 0),
    )


def test_whitening_makes_clean_images_white() -> None:
    net = small_net()
    x = smooth_images(net, 600, seed=1).pixels.float() / 255
    white = Whitening.of(x)
    power = torch.fft.fft2(white(x - x.mean((0, 2, 3), keepdim=True))).abs() ** 2
    power = power.mean((0, 1)) / SIDE**2
    low, high = power[1, 1], power[SIDE // 2, SIDE // 2]
    assert float(low) == pytest.approx(1, abs=0.2)  # the floor of 1e-4 is small there
    assert 0.5 < float(high) < 0.9  # a camera's noise and rounding are about as strong as it


def test_a_pattern_is_wholly_like_itself_and_unlike_its_negative() -> None:
    x = smooth_images(small_net(), 100, seed=1).pixels.float() / 255
    white = Whitening.of(x)
    ours, other = x[:3], torch.randn(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    assert white.alike(ours, ours).tolist() == pytest.approx([1] * 3, abs=1e-4)
    assert white.alike(ours, -ours).tolist() == pytest.approx([-1] * 3, abs=1e-4)
    assert (white.alike(ours, other).abs() < 0.4).all()
    scaled = white.alike(ours, 7 * other)
    assert scaled.tolist() == pytest.approx(white.alike(ours, other).tolist(), abs=1e-5)


def test_a_strong_friend_of_a_linear_net_ends_in_its_corner() -> None:
    net, weight = linear()
    x = torch.full((2, 1, SIDE, SIDE), 128 / 255)
    y = torch.tensor([1, 0])  # it is at the decision: a tie goes to class 0
    ids = torch.arange(2)
    points = craft(net).stored("strong", x[:1], y[:1], ids[:1])
    corner = (128 + 8 * weight.sign()) / 255
    assert torch.allclose(points[0], corner, atol=1e-6)


def test_the_trace_of_a_corner_is_that_of_a_matched_filter() -> None:
    net, weight = linear()
    clean = smooth_images(net, 300, seed=2)
    x, y = clean.pixels.float() / 255, torch.ones(300, dtype=torch.int64)
    white = Whitening.of(x)
    before = measured(net, x, y, white)[:, NAMES.index("trace")]
    pattern = weight.sign().expand_as(x)
    assert torch.allclose(before, white.alike(x, pattern), atol=1e-6)
    after = measured(net, x + EPS * pattern, y, white)[:, NAMES.index("trace")]
    before = before.detach()
    assert abs(float(before.mean())) < 0.1
    assert float(after.min()) > float(before.max()) + 0.1
    away = measured(net, x - EPS * pattern, y, white)[:, NAMES.index("trace")]
    assert float(away.max()) < float(before.min()) - 0.1


def test_margins_are_those_of_the_image_and_of_its_smoothed_version() -> None:
    net, weight = linear()
    x = torch.rand(2, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([1, 0])
    found = measured(net, x, y, Whitening.of(x))
    sign = torch.tensor([1.0, -1.0])
    lead = sign * (x * weight).flatten(1).sum(1)
    lost = lead - sign * (smoothed(x) * weight).flatten(1).sum(1)
    assert torch.allclose(found[:, NAMES.index("margin")], lead, atol=1e-4)
    assert torch.allclose(found[:, NAMES.index("loss of margin")], lost, atol=1e-4)
    assert torch.equal(traces(net, x, y, Whitening.of(x)).right, lead > 0)


def test_a_limited_friend_keeps_the_margin_it_is_given() -> None:
    net, weight = linear()
    whole = EPS * float(weight.abs().sum())  # lead of the corner
    x = torch.full((4, 1, SIDE, SIDE), 128 / 255)
    y, ids = torch.ones(4, dtype=torch.int64), torch.arange(4)
    wanted = whole / 2
    points = craft(net, margins=(wanted,)).stored("limited", x, y, ids)
    leads = (points * weight).flatten(1).sum(1)
    assert (leads >= wanted).all()
    assert (leads < wanted + whole / 8).all(), "a level of all pixels"


def test_an_early_friend_stops_sooner_than_a_strong_one() -> None:
    net, _ = linear()
    x = torch.full((4, 1, SIDE, SIDE), 128 / 255)
    y, ids = torch.ones(4, dtype=torch.int64), torch.arange(4)
    near, far = (craft(net).stored(kind, x, y, ids) for kind in ("early", "strong"))
    assert 0 < float((near - x).abs().max()) <= 2 / 255
    assert float((far - x).abs().max()) == pytest.approx(EPS)


def test_a_friend_that_fails_leaves_the_clean_image() -> None:
    net, weight = linear()
    net.bias = -2 * EPS * float(weight.abs().sum())  # out of reach
    x = torch.full((2, 1, SIDE, SIDE), 128 / 255)
    y, ids = torch.ones(2, dtype=torch.int64), torch.arange(2)
    for kind in ("strong", "early", "limited", "adaptive"):
        assert torch.equal(craft(net).stored(kind, x, y, ids), x)


def test_an_adaptive_friend_hands_over_what_looks_cleanest() -> None:
    net = small_net().requires_grad_(False)
    clean = smooth_images(net, 200, seed=3)
    x, y = clean.pixels.float() / 255, clean.y
    white = Whitening.of(x)
    found = traces(net, x, y, white)
    at = (~found.right).nonzero().flatten()[:30]

    def score(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return measured(net, x, y, white)[:, 0] ** 2

    friends = craft(net, score=score)
    strong, adaptive = (friends.stored(kind, x[at], y[at], at) for kind in ("strong", "adaptive"))
    assert ((adaptive - x[at]).abs() <= EPS + 1e-6).all()
    seen = traces(net, adaptive, y[at], white)
    assert seen.right.sum() > 20
    assert float(score(adaptive, y[at]).mean()) < 0.2 * float(score(strong, y[at]).mean())
