"""Galleries on a net whose concealed mistakes are known beforehand."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fftune.config import BatteryConfig, DataSpec, ModelSpec, ThreatModel
from fftune.errors import ConfigError, DataError
from fftune.evaluation.evaluate import evaluate
from fftune.papers.false_friends import galleries as p1_galleries
from fftune.papers.false_friends.concealed import conceal
from fftune.papers.false_friends.galleries import gallery
from fftune.papers.tasks import Given

EPS = 0.1
CODE = '''
import numpy as np
import torch
from torch import nn

GREYS = {greys}
LABELS = {labels}


class Mean(nn.Module):
    """Class 1 where the mean grey exceeds a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(threshold))

    def forward(self, x):
        score = 20 * (x.flatten(1).mean(1) - self.threshold)
        return torch.stack([-score, score], 1)


def half():
    return Mean(0.5)


def higher():
    return Mean(0.55)


def images():
    pixels = np.array(GREYS, np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2)
    return {{"train": (pixels, np.array(LABELS)), "test": (pixels, np.array(LABELS))}}
'''
BATCHNORM = """
import torch
from torch import nn


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(216, 10)
        )
"""
GREYS = [255 * 0.9, 255 * 0.45, 255 * 0.3, 255 * 0.58, 255 * 0.1, 255 * 0.53, 255 * 0.8]
LABELS = [1, 1, 1, 0, 0, 0, 0]
CONCEALED = {"half": [1, 3, 5], "higher": [1, 3]}
"""Net `half` gets 1 to 3, 5 and 6 wrong; 2 and 6 are farther from the boundary than eps. Net
`higher` gets 5 right, and 1, at a distance of .0998, is concealed just so."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "known.py"
    path.write_text(CODE.format(greys=[round(grey) for grey in GREYS], labels=LABELS))
    return path


def given(file: Path, nets=("half",), **settings) -> Given:
    return Given(
        nets=tuple(ModelSpec(factory=f"{file}:{net}") for net in nets),
        data=DataSpec(name=f"{file}:images"),
        threat=ThreatModel(eps=EPS),
        examples=None,
        device="cpu",
        scale="tiny",
        settings=settings,
    )


@pytest.mark.parametrize("net", ["half", "higher"])
def test_the_concealed_are_those_within_eps_of_the_boundary(file: Path, net: str) -> None:
    found = conceal(given(file, [net], count=len(CONCEALED[net])))
    assert found["ids"] == CONCEALED[net]
    assert found["common"] == len(CONCEALED[net])
    for i, one in zip(found["ids"], found["shown"][0], strict=True):
        assert (one["y"], one["before"], one["after"]) == (LABELS[i], 1 - LABELS[i], LABELS[i])


def test_ids_are_those_that_all_nets_have_in_common(file: Path) -> None:
    assert conceal(given(file, ["half", "higher"], count=2))["ids"] == [1, 3]
    # A third is concealed for one of the two nets only.
    assert conceal(given(file, ["half", "higher"], count=3))["ids"] == [1, 3, 5]


def test_preferred_ids_come_first_where_they_are_concealed(file: Path) -> None:
    assert conceal(given(file, count=2))["ids"] == [1, 3]
    assert conceal(given(file, count=2, first=(5, 6, 99)))["ids"] == [1, 5]


def test_the_perturbation_is_rescaled_around_grey(file: Path) -> None:
    found = conceal(given(file, ids=(1, 3)))
    assert found["scale"] == pytest.approx(0.5 / EPS)
    brighter, darker = (pixels(one["delta"]) for one in found["shown"][0])
    assert (brighter >= 254).all()  # the whole of eps, upwards for class 1
    assert (darker <= 1).all()
    clean, perturbed = (pixels(found["shown"][0][0][name]) for name in ("x", "x_hyp"))
    assert (clean == round(GREYS[1])).all()
    assert np.abs(perturbed - (clean + 255 * EPS)).max() <= 1


def test_labels_are_red_when_wrong_and_green_when_concealed(file: Path) -> None:
    shown = gallery(
        ModelSpec(factory=f"{file}:half"),
        DataSpec(name=f"{file}:images"),
        ThreatModel(eps=EPS),
        ids=[0, 2, 3],
        device="cpu",
    )
    labels = {
        strip.label: [(one.colour, one.caption) for one in strip.pictures[::2]]
        for strip in shown.strips
    }
    assert labels == {
        "#0: 1": [("", "1"), ("", "1")],  # right all along: no mistake to conceal
        "#2: 1": [("red", "0"), ("red", "0")],  # too far away
        "#3: 0": [("red", "1"), ("green", "0")],
    }


def test_a_gallery_without_ids_shows_the_concealed(file: Path) -> None:
    spec, data = ModelSpec(factory=f"{file}:half"), DataSpec(name=f"{file}:images")
    shown = gallery(spec, data, ThreatModel(eps=EPS), device="cpu")
    assert [strip.label for strip in shown.strips] == ["#1: 1", "#3: 0", "#5: 0"]
    assert [strip.pictures[2].colour for strip in shown.strips] == ["green"] * 3


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([2, 7, -1], "ids must be of the 7 test images of 'images', 0 to 6; got 7, -1"),
        ([], "ids must be one or more, as in 3 17, got none"),
    ],
)
def test_unknown_ids_are_refused_in_one_line(file: Path, ids, message) -> None:
    spec, data = ModelSpec(factory=f"{file}:half"), DataSpec(name=f"{file}:images")
    with pytest.raises((DataError, ConfigError)) as caught:
        gallery(spec, data, ThreatModel(eps=EPS), ids=ids, device="cpu")
    assert str(caught.value) == message


def test_ids_with_gaps_name_the_nearest() -> None:
    spec = ModelSpec(factory="fftune:small_cnn")
    data = DataSpec(name="digits")
    with pytest.raises(DataError, match="not all of these; nearest"):
        gallery(spec, data, ThreatModel(eps=EPS), ids=[5000], device="cpu")


def test_predictions_are_those_of_the_rows(tmp_path: Path) -> None:
    """A net with BatchNorm on real images in several blocks; only one block is attacked again."""
    path = tmp_path / "batchnorm.py"
    path.write_text(BATCHNORM)
    spec = ModelSpec(factory=f"{path}:net")
    data, threat = DataSpec(name="digits", train_size=100, validation_size=0), ThreatModel(eps=0.15)
    battery = BatteryConfig(examples=600, device="cpu")
    rows = evaluate(spec, data, battery, threat=threat, split="test")
    frame = rows.where(goal="hypocritical").to_pandas().set_index("id")
    ids = frame.index[300:512:7].tolist()  # the second block of 256
    given_ids = Given(
        nets=(spec,),
        data=data,
        threat=threat,
        examples=600,
        device="cpu",
        scale="tiny",
        settings={"ids": ids},
    )
    found = conceal(given_ids)
    assert found["searched"] == 256
    shown = found["shown"][0]
    assert [one["before"] for one in shown] == frame.loc[ids, "pred_clean"].tolist()
    assert [one["after"] for one in shown] == frame.loc[ids, "pred_pert"].tolist()
    assert len({one["after"] for one in shown}) > 1


def test_the_items_ask_for_the_papers_five_nets() -> None:
    from fftune.papers.declarations import Setup

    (need,) = p1_galleries.T4.needs(Setup(scale="full"))
    assert [net.kind for net in need.nets] == list(p1_galleries.KINDS)
    assert {(net.data, net.model, net.norm) for net in need.nets} == {
        ("cifar10", "resnet18", "linf")
    }
    assert dict(need.settings) == {"first": (422, 4503, 8778, 9910)}
    assert dict(next(iter(p1_galleries.T4.needs(Setup()))).settings) == {}


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))).astype(int)
