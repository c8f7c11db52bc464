from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fftune.config import Constants, InputSpec, ModelSpec, Norm, ThreatModel, to_json
from fftune.data.catalog import open_parts
from fftune.data.official_split import OfficialSplit
from fftune.data.substandard import (
    Kind,
    SubstandardRecipe,
    made_of,
    poison_attack,
    rounded,
    stored,
    targets,
)
from fftune.errors import ConfigError, ModelError
from fftune.models import make_model, save_weights, weights_hash
from fftune.models.named_net import read_net

CONSTANTS: tuple[Constants, ...] = ("paper", "code")
ROWS = torch.arange(2000)


class Linear(nn.Module):
    """Logits that are a fixed linear function of the pixels."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(inputs, classes, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight


@pytest.fixture
def part() -> OfficialSplit:
    return open_parts("synthetic:shape=3x8x8,classes=4,train=2000,test=8")["train"]


def recipe(
    kind: Kind, *, norm: Norm = "linf", eps: float = 8 / 255, seed: int = 0
) -> SubstandardRecipe:
    return SubstandardRecipe(kind=kind, threat=ThreatModel(norm=norm, eps=eps), seed=seed)


def test_noise_is_uniform_and_keeps_labels_and_ids(part: OfficialSplit) -> None:
    made, how = made_of(part, recipe("noise"))
    data, parent = made.read(ROWS, "train"), part.read(ROWS, "train")
    assert torch.equal(data.y, parent.y) and torch.equal(data.ids, parent.ids)
    x = data.pixels.double() / 255
    n = x.numel()
    assert abs(x.mean() - 0.5) < 4 / (12 * n) ** 0.5
    # 256 equally likely levels: (256^2 - 1) / 12 / 255^2, which is 1/12 and a trace.
    assert abs(x.var() - (256**2 - 1) / 12 / 255**2) < 4 * (1 / 180 / n) ** 0.5
    assert how.parent == parent.hash() and made.source.name == "synthetic-noise"


def test_mislabeling_agrees_by_chance_alone(part: OfficialSplit) -> None:
    made, _ = made_of(part, recipe("mislabeling"))
    data, parent = made.read(ROWS, "train"), part.read(ROWS, "train")
    assert torch.equal(data.pixels, parent.pixels)
    agreement = (data.y == parent.y).double().mean()
    assert abs(agreement - 1 / 4) < 4 * (0.25 * 0.75 / 2000) ** 0.5
    assert data.y.bincount().min() > 400


@pytest.mark.parametrize("kind", ["noise", "mislabeling"])
def test_a_seed_makes_the_same_again(part: OfficialSplit, kind: Kind) -> None:
    def made(seed: int) -> str:
        return made_of(part, recipe(kind, seed=seed))[0].read(ROWS, "train").hash()

    assert made(0) == made(0) != made(1)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
def test_poison_reaches_its_target_and_stays_in_the_ball(norm: Norm, eps: float) -> None:
    part = open_parts("synthetic:shape=3x8x8,classes=4,train=300,test=8")["train"]
    net, rows = Linear(192, 4), torch.arange(300)
    made, how = made_of(part, recipe("poisoning", norm=norm, eps=eps), net)
    data, parent = made.read(rows, "train"), part.read(rows, "train")
    assert torch.equal(data.y, parent.y) and torch.equal(data.ids, parent.ids)
    assert how.net == weights_hash(net) and '"steps": 100' in how.settings
    names = {"linf": "synthetic-poisoning", "l2": "synthetic-poisoning-l2"}
    assert made.source.name == names[norm]
    moved = data.pixels.long() - parent.pixels.long()
    if norm == "linf":
        assert moved.abs().max() == 8
    else:
        assert moved.flatten(1).double().norm(dim=1).max() <= 0.5 * 255
    t = targets(parent.y, 4)
    margin_before = net(parent.pixels / 255.0)[rows, t]
    assert (net(data.pixels / 255.0)[rows, t] > margin_before).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
def test_help_lowers_the_loss_of_every_image_and_keeps_its_label(norm: Norm, eps: float) -> None:
    part = open_parts("synthetic:shape=3x8x8,classes=4,train=300,test=8")["train"]
    net, rows = Linear(192, 4), torch.arange(300)
    made, how = made_of(part, recipe("helped", norm=norm, eps=eps), net)
    data, parent = made.read(rows, "train"), part.read(rows, "train")
    assert torch.equal(data.y, parent.y) and torch.equal(data.ids, parent.ids)
    names = {"linf": "synthetic-helped", "l2": "synthetic-helped-l2"}
    assert (how.kind, made.source.name) == ("helped", names[norm])
    moved = (data.pixels.long() - parent.pixels.long()).flatten(1).double()
    assert (moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)).max() <= eps * 255 + 1e-6
    before, after = (
        torch.nn.functional.cross_entropy(net(d.pixels / 255.0), d.y, reduction="none")
        for d in (parent, data)
    )
    assert (after < before).all()


def test_help_needs_a_net() -> None:
    part = open_parts("synthetic:shape=3x8x8,classes=4,train=30,test=8")["train"]
    with pytest.raises(ConfigError, match="net: helped needs a net"):
        made_of(part, recipe("helped"))


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("linf", 0.0305), ("l2", 0.5)])
def test_rounding_never_leaves_the_ball(norm: Norm, eps: float) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (50, 3, 32, 32), generator=generator, dtype=torch.uint8)
    delta = torch.randn(50, 3, 32, 32, generator=generator)
    if norm == "linf":
        delta = eps * delta.sign()
    else:
        delta = eps * delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    x_pert = (pixels / 255 + delta).clamp(0, 1)
    stored = rounded(x_pert, pixels, ThreatModel(norm=norm, eps=eps), 255)
    moved = (stored.numpy().astype(np.int64) - pixels.numpy().astype(np.int64)) / 255
    flat = moved.reshape(50, -1)
    size = np.abs(flat).max(1) if norm == "linf" else np.sqrt((flat**2).sum(1))
    assert (size <= eps + 1e-12).all()
    assert (size >= 0.97 * eps - 1 / 255).all()  # nor does it give much of it away


def test_the_authors_code_starts_at_the_image() -> None:
    threat = ThreatModel()
    starts = [
        poison_attack(SubstandardRecipe(kind="poisoning", threat=threat, constants=c)).start
        for c in ("paper", "code")
    ]
    assert starts == ["uniform", "none"]
    attack = poison_attack(SubstandardRecipe(kind="poisoning", threat=threat))
    assert (attack.steps, attack.step_size) == (100, 8 / 255 / 5)


def test_the_authors_code_truncates() -> None:
    """The paper's poison goes to the nearest level."""
    pixels = torch.tensor([100, 100, 100, 0, 255], dtype=torch.uint8).view(1, 1, 1, 5)
    moved = torch.tensor([0.9, -0.1, 0.0, 3.6, -3.6]).view(1, 1, 1, 5)
    x_pert, threat = (pixels + moved) / 255, ThreatModel()
    found = {c: stored(x_pert, pixels, threat, 255, c).flatten().tolist() for c in CONSTANTS}
    assert found == {"paper": [101, 100, 100, 4, 251], "code": [100, 99, 100, 3, 251]}


def test_a_truncated_poison_may_leave_the_ball_by_a_level() -> None:
    """Where a float lies just below its level, as in the authors' code; rounding never does."""
    part = open_parts("synthetic:shape=3x8x8,classes=4,train=300,test=8")["train"]
    poison = SubstandardRecipe(kind="poisoning", threat=ThreatModel(), constants="code")
    made, how = made_of(part, poison, Linear(192, 4))
    rows = torch.arange(300)
    moved = made.read(rows, "train").pixels.long() - part.read(rows, "train").pixels.long()
    assert how.constants == "code" and (moved.min(), moved.max()) == (-9, 8)


def test_targets_are_a_permutation_without_fixed_point() -> None:
    y = torch.arange(10)
    assert sorted(targets(y, 10).tolist()) == y.tolist() and (targets(y, 10) != y).all()


def test_a_net_is_for_poisoning_alone(part: OfficialSplit) -> None:
    with pytest.raises(ConfigError, match="poisoning needs a net"):
        made_of(part, recipe("poisoning"))
    with pytest.raises(ConfigError, match="noise needs no net"):
        made_of(part, recipe("noise"), Linear(192, 4))


def test_a_net_that_does_not_fit_is_one_line(part: OfficialSplit) -> None:
    with pytest.raises(ModelError, match="net does not take images of 3 x 8 x 8: "):
        made_of(part, recipe("poisoning"), Linear(7, 4))
    with pytest.raises(ModelError, match="^net tells 3 classes apart, synthetic"):
        made_of(part, recipe("poisoning"), Linear(192, 3))


def test_nets_are_read_from_checkpoints_and_from_files(tmp_path: Path) -> None:
    inputs = InputSpec(shape=(3, 8, 8), classes=4, mean=(0.5,) * 3, std=(0.5,) * 3)
    net = make_model("small_cnn", inputs)
    save_weights(net, tmp_path / "weights.pt")
    spec = ModelSpec(
        factory="fftune:small_cnn", inputs=inputs, weights="elsewhere", hash=weights_hash(net)
    )
    (tmp_path / "model.json").write_text(to_json(spec))
    assert weights_hash(read_net(str(tmp_path))) == weights_hash(net)
    (tmp_path / "own.py").write_text("import torch\ndef net(): return torch.nn.Flatten()\n")
    assert isinstance(read_net(f"{tmp_path}/own.py:net"), nn.Flatten)
    for wrong in ("nowhere", f"{tmp_path}/own.py:nat", f"{tmp_path}/none.py:net"):
        with pytest.raises(ModelError, match="net"):
            read_net(wrong)
