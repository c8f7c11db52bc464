"""Substandard data on a few pixels: which levels, which labels, and how a poison is stored."""

import json
import logging
import random
from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import AttackConfig, ThreatModel
from fftune.data.dataset import Dataset, Source
from fftune.data.images import Array, Central
from fftune.data.official_split import OfficialSplit
from fftune.data.substandard import (
    BATCH,
    SubstandardRecipe,
    made_of,
    perturbed,
    poison_attack,
    random_labels,
    rounded,
    stored,
    targets,
    uniform_pixels,
)
from fftune.errors import ConfigError, DataError, ModelError
from fftune.keyed_noise import Noise
from fftune.models.named_net import read_net

ROWS = 600
"""More than two batches."""


def part_of(levels: int = 255, classes: int = 5, rows: int = ROWS) -> OfficialSplit:
    """Images of 2 x 3 pixels whose ids are not their positions."""
    source = Source(
        name="hand",
        classes=tuple("abcdefgh"[:classes]),
        levels=levels,
        mean=(0.5,),
        std=(0.5,),
    )
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, levels + 1, (rows, 2, 3, 1), generator=generator).byte()
    y = torch.arange(rows) % classes
    images = Array("hand", pixels.numpy())
    return OfficialSplit(
        source=source, name="train", y=y, images=images, ids=5 * torch.arange(rows) + 2
    )


def read(part: OfficialSplit) -> Dataset:
    return part.read(torch.arange(len(part)), "train")


@pytest.mark.parametrize("levels", [255, 16, 1])
def test_every_level_is_equally_likely(levels: int) -> None:
    """The largest one too; 99.9 % points of chi-squared."""
    pixels = uniform_pixels(read(part_of(levels=levels)), Noise(1).fold("noise"))
    assert pixels.shape == (ROWS, 1, 2, 3) and pixels.dtype == torch.uint8
    counts = pixels.flatten().long().bincount(minlength=levels + 1)
    expected = 6 * ROWS / (levels + 1)
    assert len(counts) == levels + 1
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < {255: 330.5, 16: 39.3, 1: 10.9}[levels]


def test_noise_is_the_ids_own_across_batches() -> None:
    data, noise = read(part_of()), Noise(1).fold("noise")
    u = noise.uniform(data.ids, (1, 2, 3)).double()
    assert torch.equal(uniform_pixels(data, noise).long(), (u * 256).floor().long())
    few = data.select(torch.tensor([3, 300, 599]), "train")
    assert torch.equal(uniform_pixels(few, noise), uniform_pixels(data, noise)[[3, 300, 599]])


@pytest.mark.parametrize("classes", [2, 5, 8])
def test_every_label_is_equally_likely_whatever_the_truth(classes: int) -> None:
    data, noise = read(part_of(classes=classes)), Noise(2).fold("mislabeling")
    y = random_labels(data, noise)
    assert y.shape == (ROWS,) and y.dtype == torch.int64
    table = torch.zeros(classes, classes)
    for truth, label in zip(data.y.tolist(), y.tolist(), strict=True):
        table[truth, label] += 1
    expected = ROWS / classes**2
    chi_squared = float(((table - expected) ** 2 / expected).sum())
    assert chi_squared < {2: 16.3, 5: 51.2, 8: 103.5}[classes]
    u = noise.uniform(data.ids, (1,)).flatten().double()
    assert y.tolist() == [int(value * classes) for value in u.tolist()]


class TopOfTheRange(Noise):
    """The largest number below 1."""

    def uniform(self, ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        return torch.full((len(ids), *shape), 1 - 2**-24)


def test_the_largest_draw_is_still_a_level_and_a_class() -> None:
    data = read(part_of(rows=3))
    assert set(uniform_pixels(data, TopOfTheRange(0)).flatten().tolist()) == {255}
    assert random_labels(data, TopOfTheRange(0)).tolist() == [4] * 3


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_target_is_the_next_class_and_after_the_last_the_first(classes: int) -> None:
    expected = [*range(1, classes), 0]
    assert targets(torch.arange(classes), classes).tolist() == expected


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5), ("l2", 2.0)])
def test_a_poison_is_searched_in_a_hundred_steps_of_a_fifth(norm, eps) -> None:
    threat = ThreatModel(norm=norm, eps=eps)
    for constants, start in (("paper", "uniform"), ("code", "none")):
        attack = poison_attack(
            SubstandardRecipe(kind="poisoning", threat=threat, constants=constants)
        )
        expected = AttackConfig(threat=threat, steps=100, step_size=eps / 5, start=start)
        assert attack == expected
    assert SubstandardRecipe(kind="poisoning", threat=threat).constants == "paper"
    assert SubstandardRecipe(kind="poisoning", threat=threat).seed == 0


class Linear(nn.Module):
    """Five classes of six pixels; a BatchNorm tells eval mode from training."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.norm = nn.BatchNorm2d(1)
        self.weight = nn.Parameter(torch.randn(6, classes, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return (self.norm(x) - 0.5).flatten(1) @ self.weight


@pytest.mark.parametrize("constants", ["paper", "code"])
def test_a_poison_is_a_targeted_pgd_and_then_stored(constants, caplog) -> None:
    """Batch by batch in eval mode, keyed by ids; the net is given back in training mode."""
    caplog.set_level(logging.INFO)
    data, net, noise = read(part_of()), Linear(), Noise(4).fold("poisoning", "hand")
    attack = AttackConfig(threat=ThreatModel(eps=0.1), steps=3, step_size=0.04)
    recipe = SubstandardRecipe(kind="poisoning", threat=attack.threat, constants=constants)
    net.train()
    found = perturbed(data, net, attack, noise, recipe)
    assert net.training and net.norm.training and net.norm.running_mean.item() == 0
    net.eval()
    t = (data.y + 1) % 5
    x = data.pixels / 255
    x_pert = pgd(net, x, t, config=attack, goal="targeted", loss="ce", noise=noise, ids=data.ids)
    expected = stored(x_pert, data.pixels, attack.threat, 255, constants)
    assert torch.equal(found, expected)
    with torch.no_grad():
        before, after = (int((net(p / 255).argmax(1) == t).sum()) for p in (data.pixels, found))
    assert after > before
    assert BATCH == 256
    told = [r.message for r in caplog.records if "taken for the target" in r.message]
    assert [line.split(",")[0] for line in told] == [
        f"poisoning: {n} of 600" for n in (256, 512, 600)
    ]
    assert told[-1] == f"poisoning: 600 of 600, {after} taken for the target"


# Rounding inside the ball.


def one(x: list[float], pixels: list[int], norm: str, eps: float, levels: int = 255) -> list[int]:
    """In units of levels."""
    start = torch.tensor(pixels, dtype=torch.uint8).view(1, 1, 1, -1)
    x_pert = (torch.tensor(x, dtype=torch.float64) / levels).float().view(1, 1, 1, -1)
    found = rounded(x_pert, start, ThreatModel(norm=norm, eps=eps), levels)
    assert found.dtype == torch.uint8
    return found.flatten().tolist()


@pytest.mark.parametrize("levels", [255, 16])
@pytest.mark.parametrize("k", range(1, 17))
def test_an_edge_at_a_whole_level_belongs_to_the_ball(k: int, levels: int) -> None:
    """8/255 times 255 may come out as 7.999...; a little below, the level is out of reach."""
    start = [0, levels]
    moved = [k + 0.4, levels - k - 0.4]
    assert one(moved, start, "linf", k / levels, levels) == [k, levels - k]
    if k > 1:
        inside = [k - 1, levels - k + 1]
        assert one(moved, start, "linf", (k - 0.01) / levels, levels) == inside
    assert one(moved, start, "linf", (k + 0.99) / levels if k < 16 else 1.0, levels) == [
        k,
        levels - k,
    ]


def test_the_nearest_level_is_taken_within_the_range_of_pixels() -> None:
    moved = [100.4, 100.6, 99.4, 99.6, 255.4, -0.4]
    assert one(moved, [100] * 4 + [255, 0], "linf", 8 / 255) == [100, 101, 99, 100, 255, 0]
    # A perturbation without walls is brought back to them.
    assert one([260.0, -5.0], [255, 0], "linf", 8 / 255) == [255, 0]
    assert one([259.0, -3.0], [253, 2], "l2", 30 / 255) == [255, 0]


def test_an_l2_poison_that_fits_when_rounded_is_only_rounded() -> None:
    """3, 4, 12 is 13 long: just inside a radius of 13 levels, and not of 12.99."""
    moved = [103.2, 104.4, 112.3]
    assert one(moved, [100] * 3, "l2", 13 / 255 * (1 + 1e-7)) == [103, 104, 112]
    shorter = one(moved, [100] * 3, "l2", 12.99 / 255)
    assert shorter != [103, 104, 112]
    assert sqrt(sum((v - 100) ** 2 for v in shorter)) <= 12.99


def plain_l2(x: list[float], pixels: list[int], eps: float) -> list[int]:
    """Shorten by a thousandth until what is left after rounding fits."""
    delta = [a - b for a, b in zip(x, pixels, strict=True)]
    while sqrt(sum(round(d) ** 2 for d in delta)) > eps:
        delta = [d * 0.999 for d in delta]
    return [max(0, min(255, b + round(d))) for b, d in zip(pixels, delta, strict=True)]


def test_an_l2_poison_is_shortened_by_thousandths_by_hand() -> None:
    """Each example by itself: one that fits is not shortened because of its neighbours."""
    draw = random.Random(0)
    xs, starts, expected = [], [], []
    for _ in range(40):
        pixels = [draw.randint(20, 235) for _ in range(12)]
        direction = [draw.gauss(0, 1) for _ in range(12)]
        length = sqrt(sum(d * d for d in direction))
        radius = draw.choice([9.0, 11.9, 12.0])
        x = [p + radius * d / length for p, d in zip(pixels, direction, strict=True)]
        xs.append(x), starts.append(pixels), expected.append(plain_l2(x, pixels, 12.0))
    x_pert = (torch.tensor(xs, dtype=torch.float64) / 255).float().view(40, 3, 2, 2)
    pixels = torch.tensor(starts, dtype=torch.uint8).view(40, 3, 2, 2)
    found = rounded(x_pert, pixels, ThreatModel(norm="l2", eps=12 / 255), 255).view(40, 12)
    # At half a level float32 may round the other way.
    same = (found == torch.tensor(expected)).all(1)
    assert int(same.sum()) >= 38
    moved = (found.long() - pixels.view(40, 12).long()).double().norm(dim=1)
    assert bool((moved <= 12 + 1e-9).all()) and float(moved.max()) > 11.5


@pytest.mark.parametrize("levels", [255, 16])
def test_storing_truncates_or_rounds(levels: int) -> None:
    pixels = torch.tensor([8, 8, 8, 8], dtype=torch.uint8).view(1, 1, 2, 2)
    x_pert = torch.tensor([8.75, 7.75, 9.25, 6.5]).view(1, 1, 2, 2) / levels
    threat = ThreatModel(eps=2 / levels)
    code = stored(x_pert, pixels, threat, levels, "code")
    paper = stored(x_pert, pixels, threat, levels, "paper")
    assert code.flatten().tolist() == [8, 7, 9, 6]
    assert paper.flatten().tolist() == [9, 8, 9, 6]
    assert code.dtype == paper.dtype == torch.uint8


# The whole copy.


def test_what_is_made_keeps_ids_and_says_how() -> None:
    part = part_of()
    parent = read(part)
    threat = ThreatModel(norm="l2", eps=0.75)
    for kind, name in (("noise", "hand-noise"), ("mislabeling", "hand-mislabeling")):
        recipe = SubstandardRecipe(kind=kind, threat=threat, seed=6)
        copy, made = made_of(part, recipe)
        data = read(copy)
        noise = Noise(6).fold(kind, "hand")
        assert torch.equal(data.ids, parent.ids) and copy.name == "train"
        pixels = uniform_pixels(parent, noise) if kind == "noise" else parent.pixels
        y = random_labels(parent, noise) if kind == "mislabeling" else parent.y
        assert torch.equal(data.pixels, pixels) and torch.equal(data.y, y)
        assert (made.kind, made.seed, made.constants) == (kind, 6, "paper")
        assert made.parent == parent.hash() and made.net is None
        assert copy.source.name == name and copy.source.classes == part.source.classes
        settings = json.loads(made.settings)
        assert settings["threat"]["eps"] == 0.75 and "attack" not in settings
        assert made.settings == json.dumps(settings, sort_keys=True)


def test_a_poisoned_copy_holds_the_poison_of_its_net() -> None:
    part, net = part_of(rows=20), Linear()
    recipe = SubstandardRecipe(
        kind="poisoning", threat=ThreatModel(norm="l2", eps=0.75), constants="code"
    )
    copy, made = made_of(part, recipe, net)
    data, parent = read(copy), read(part)
    noise, attack = Noise(0).fold("poisoning", "hand"), poison_attack(recipe)
    assert torch.equal(data.pixels, perturbed(parent, net, attack, noise, recipe))
    assert torch.equal(data.y, parent.y) and torch.equal(data.ids, parent.ids)
    settings = json.loads(made.settings)
    assert settings["attack"]["steps"] == 100 and settings["kind"] == "poisoning"
    assert made.constants == "code" and made.net is not None
    assert copy.source.name == "hand-poisoning-l2"


@pytest.mark.parametrize("rows", [1, 2, 20])
def test_a_net_of_other_classes_is_refused_before_it_is_attacked(rows: int) -> None:
    recipe = SubstandardRecipe(kind="poisoning", threat=ThreatModel(eps=0.1))
    with pytest.raises(ModelError, match="^net tells 7 classes apart, hand has 5$"):
        made_of(part_of(rows=rows), recipe, Linear(7))
    net = Linear()
    net.train()
    made_of(part_of(rows=rows), recipe, net)
    assert net.training and net.norm.running_mean.item() == 0


@pytest.mark.parametrize("kind", ["noise", "mislabeling"])
def test_only_a_poison_needs_a_net(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"^net: {kind} needs no net$"):
        made_of(part_of(), SubstandardRecipe(kind=kind, threat=ThreatModel()), Linear())
    with pytest.raises(ConfigError, match="^net: poisoning needs a net$"):
        made_of(part_of(), SubstandardRecipe(kind="poisoning", threat=ThreatModel()))


def test_a_file_that_is_no_python_is_refused(tmp_path) -> None:
    (tmp_path / "net.txt").write_text("def net(): ...")
    with pytest.raises(ModelError, match="there is no such file or checkpoint"):
        read_net(f"{tmp_path}/net.txt:net")


def test_photographs_are_framed_before_they_are_changed() -> None:
    """Images in memory have the one frame that they were made with, and the copy keeps it."""
    frame = Central(2)
    recipe, part = SubstandardRecipe(kind="noise", threat=ThreatModel()), part_of(rows=3)
    with pytest.raises(DataError, match="have a size of their own"):
        made_of(part, recipe, frame=frame)
    framed = replace(part, images=replace(part.images, frame=frame))
    copy, _ = made_of(framed, recipe, frame=frame)
    assert copy.images.frame == frame
