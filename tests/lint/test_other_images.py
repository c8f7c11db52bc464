"""Nets that want other images than they are given, which the lint finds by giving them those."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.data import Dataset, Source
from fftune.keyed_noise import Noise
from fftune.lint.finding import Query
from tests.evaluation.subjects import Of, lined


@pytest.mark.parametrize(
    ("scale", "shift", "code"),
    [
        (2.0, -1.0, "normalisation-outside"),  # (x - .5) / .5 is from -1 to 1
        (2.0, -1.0, "input-range"),
        (255.0, 0.0, "input-range"),
    ],
)
def test_images_of_another_range_are_remarked_on(scale, shift, code, toy, blobs) -> None:
    """`blobs` has mean and deviation .5, so that normalised images are those in [-1, 1]."""
    net = Of(toy, lambda n, x: n((x - shift) / scale))
    assert code in lined(net, blobs)


def coloured(net: nn.Module) -> Dataset:
    """400 random images of 3 x 4 x 4, about all of which a net is right."""
    rng = torch.Generator().manual_seed(2)
    pixels = torch.randint(256, (400, 3, 4, 4), generator=rng, dtype=torch.uint8)
    source = Source(
        name="coloured", classes=("a", "b", "c"), mean=(0.5, 0.3, 0.4), std=(0.3, 0.2, 0.2)
    )
    with torch.no_grad():
        y = net(pixels / 255).argmax(1)
    return Dataset(source=source, split="test", ids=torch.arange(400), pixels=pixels, y=y)


class Redness(nn.Module):
    """Which channel is the brightest, after weights of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 9 * (x.mean((2, 3)) * torch.tensor([1.0, 1.2, 0.9]))


@pytest.mark.parametrize(
    ("way", "code", "words"),
    [
        ("none", "", ""),
        ("reversed", "channel-order", "channels are reversed"),
        ("mean", "normalisation-outside", "images less their mean"),
        ("outside", "normalisation-outside", "accuracy on normalised images"),
        ("twice", "normalisation-outside", "normalisation is undone"),
    ],
)
def test_images_that_a_net_wants_otherwise_are_named(way, code, words) -> None:
    """Each change of what the net sees is undone by one that is tried, so that all is right."""
    net = Redness()
    data = coloured(net)
    if way == "mean":  # by so small a deviation red alone would decide
        data = replace(data, source=replace(data.source, std=(0.01, 1.0, 1.0)))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (data.source.mean, data.source.std))
    seen = {
        "none": lambda n, x: n(x),
        "reversed": lambda n, x: n(x.flip(1)),
        "mean": lambda n, x: n(x + mean),
        "outside": lambda n, x: n(x * std + mean),
        "twice": lambda n, x: n((x - mean) / std),
    }
    said = lined(Of(net, seen[way]), data)
    assert (words in said[code]) if code else not said


@pytest.mark.parametrize(("shape", "many"), [((3, 32, 32), 512), ((1, 28, 28), 2006)])
def test_of_small_images_more_are_compared(shape, many) -> None:
    """As many numbers as 512 images of CIFAR-10 have: 1,572,864 / 784 is 2,006.2."""
    pixels = torch.zeros(3000, *shape, dtype=torch.uint8)
    source = Source(name="dark", classes=("a", "b"), mean=(0.5,), std=(0.5,))
    ids = torch.arange(3000)
    data = Dataset(source=source, split="test", ids=ids, pixels=pixels, y=ids % 2)
    assert Query(net=nn.Identity(), dataset=data, device="cpu", noise=Noise(0)).many == many


def test_a_gain_of_one_and_a_half_points_is_told() -> None:
    """Of 2,000 small images 30 are right only where they are normalised, and none only here."""

    class Shy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            shown = x.flatten(1)[:, :2]
            flip = (x.flatten(1)[:, 2:3] > 0.1) & (x.flatten(1)[:, 2:3] <= 1)
            return torch.where(flip, shown.flip(1), shown)

    y = torch.arange(2000) % 2
    pixels = torch.zeros(2000, 1, 2, 2, dtype=torch.uint8)
    pixels.view(2000, 4)[torch.arange(2000), y] = 250
    pixels[:30, 0, 1, 0] = 240  # normalised by a deviation of .3 that is above 1
    pixels[30:, 0, 1, 1] = 250
    source = Source(name="shy", classes=("a", "b"), mean=(0.1,), std=(0.3,))
    data = Dataset(source=source, split="test", ids=torch.arange(2000), pixels=pixels, y=y)
    assert "+1.5 points" in lined(Shy(), data)["normalisation-outside"]
    fewer = replace(data, pixels=pixels.clone())
    fewer.pixels[8:30, 0, 1, 0] = 0
    assert "normalisation-outside" not in lined(Shy(), fewer)


def test_of_a_single_class_nothing_is_said_of_chance(toy, blobs) -> None:
    source = replace(blobs.source, classes=("a",))
    one = replace(blobs, source=source, y=torch.zeros_like(blobs.y))
    assert not lined(Of(toy, lambda n, x: n(x)[:, :1]), one).keys() & {"no-better-than-chance"}
