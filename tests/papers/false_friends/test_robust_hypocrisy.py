"""Friends who fake robust accuracy: a net with a known answer, and what must hold for any."""

from pathlib import Path

import pytest
import torch

from fftune.config import DataSpec, InputSpec, ModelSpec, ThreatModel
from fftune.data.subset import sample
from fftune.keyed_noise import Noise
from fftune.papers.declarations import Setup
from fftune.papers.false_friends import robust_hypocrisy
from fftune.papers.false_friends.faked_robustness import FriendSearch, fake, robust_friend
from fftune.papers.false_friends.toys import REACH, HalfPlane, circle_points
from fftune.papers.results import Results
from fftune.papers.tasks import Given
from fftune.threat import is_inside

DIGITS = DataSpec(name="digits", train_size=200, validation_size=0)


def linf_dist() -> ModelSpec:
    images = sample(DIGITS, "test", 4)
    inputs: InputSpec = images.inputs
    return ModelSpec(factory="fftune:linf_dist", width=32, inputs=inputs)


def faked(spec: ModelSpec, eps: float, examples: int, **settings: int):
    given = Given(
        nets=(spec,),
        data=DIGITS,
        threat=ThreatModel(eps=eps),
        examples=examples,
        device="cpu",
        scale="tiny",
        settings={**settings, "close": 3},
    )
    (found,) = fake(given)["nets"]
    return found


@pytest.mark.parametrize("b", [0.3, 0.5])
def test_on_a_half_plane_the_friend_saves_what_is_right_and_nothing_else(b) -> None:
    """From a distance s of the line, on the right side, he reaches s + eps, which is enough."""
    x, y = circle_points(30)
    net, threat = HalfPlane(b), ThreatModel(norm="l2", eps=REACH)
    search, ids = FriendSearch(), torch.arange(len(x))
    x_hyp = robust_friend(net, x, y, threat=threat, search=search, noise=Noise(0), ids=ids)
    assert is_inside(x_hyp, x, threat)
    side = 2 * y - 1
    before, after = (side * (at[:, 0, 0, 1] - b) for at in (x, x_hyp))
    weak = (before > 0) & (before <= REACH)
    assert weak.sum() > 50 and (before < 0).sum() > 50
    assert (after[weak] > REACH).all()
    assert (after[before < 0] <= REACH).all()


def test_a_friend_without_steps_hands_in_the_images() -> None:
    x, y = circle_points(6)
    found = robust_friend(
        HalfPlane(0.5),
        x,
        y,
        threat=ThreatModel(norm="l2", eps=REACH),
        search=FriendSearch(steps=0, inner=3),
        noise=Noise(0),
        ids=torch.arange(len(x)),
    )
    assert torch.equal(found, x)


@pytest.mark.slow
def test_a_friend_fakes_robustness_of_digits() -> None:
    spec = ModelSpec(factory=f"{Path(__file__).parents[1] / 'digit_means.py'}:sharp")
    honest, helped = faked(spec, 0.05, 40, steps=0), faked(spec, 0.05, 40, steps=10, inner=5)
    same = ("total", "right", "robust")
    assert [honest[name] for name in same] == [helped[name] for name in same]
    assert 0 < honest["robust"] < honest["right"] < honest["total"] == 40
    assert honest["faked"] == 0 < helped["faked"]
    assert helped["faked"] <= helped["total"] - helped["robust"]
    assert helped["certified"] is helped["certified_faked"] is None


@pytest.mark.slow
def test_certificates_count_what_is_handed_in() -> None:
    spec, eps = linf_dist(), 1e-4
    honest, helped = faked(spec, eps, 60, steps=0), faked(spec, eps, 60, steps=4, inner=2)
    assert honest["certified"] == honest["certified_faked"] == helped["certified"] > 0
    assert honest["certified"] <= honest["robust"]
    assert honest["certified"] <= helped["certified_faked"] <= helped["robust"] + helped["faked"]


COUNTS = {
    "total": 50,
    "right": 40,
    "robust": 20,
    "faked": 6,
    "certified": 10,
    "certified_faked": 12,
}


def test_rates_stand_in_the_order_of_the_columns() -> None:
    values = [100 * rate.value for rate in robust_hypocrisy.rates_of(COUNTS) if rate]
    assert values == pytest.approx([80, 40, 52, 20, 20, 24])
    without = COUNTS | {"certified": None, "certified_faked": None}
    assert robust_hypocrisy.rates_of(without)[4:] == [None, None]
    nothing = robust_hypocrisy.rates_of(COUNTS | {"robust": 0, "faked": 0, "certified": 0})
    assert [rate.value for rate in nothing if rate][1:5] == [0, 0, 0, 0]


@pytest.mark.parametrize(("count", "expected"), [(6, True), (0, False)])
def test_the_table_has_a_row_a_net(tmp_path, monkeypatch, count, expected) -> None:
    counts = COUNTS | {"faked": count, "certified": None, "certified_faked": None}
    monkeypatch.setattr(Results, "analysis", lambda *_: {"nets": [counts]})
    (table,) = robust_hypocrisy.ROBUST_HYPOCRISY.build(Results(setup=Setup(), root=tmp_path))
    assert [row.label for row in table.rows] == list(robust_hypocrisy.NETS)
    assert all(len(row.cells) == len(table.columns) for row in table.rows)
    assert "no certificate" in table.rows[0].cells[-1].reason
    assert [direction.found for direction in table.directions] == [expected]


def test_what_failed_leaves_its_reason(tmp_path) -> None:
    (table,) = robust_hypocrisy.ROBUST_HYPOCRISY.build(Results(setup=Setup(), root=tmp_path))
    assert {cell.reason for row in table.rows for cell in row.cells} == {"it was not computed"}
    assert not table.directions
