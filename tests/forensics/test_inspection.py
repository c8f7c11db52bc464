"""A planted set is found, a clean one is not, and what cannot be excluded is always said."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fftune.config import ThreatModel
from fftune.data import Dataset
from fftune.errors import ConfigError, DataError
from fftune.forensics.friends import Craft
from fftune.forensics.inspection import Bench, inspect_set
from fftune.forensics.record import InspectConfig, Inspection
from fftune.forensics.told import inspection_page
from fftune.forensics.unreferenced import look, look_page
from fftune.keyed_noise import Noise
from fftune.report.terminal import plain
from tests.forensics.nets import small_net, smooth_images

CONFIG = InspectConfig(threat=ThreatModel(eps=8 / 255), friends=30, sets=99)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return small_net().requires_grad_(False)


@pytest.fixture(scope="module")
def clean(net) -> Dataset:
    return smooth_images(net, 900, seed=1)


@pytest.fixture(scope="module")
def fresh(net) -> Dataset:
    return smooth_images(net, 300, seed=2)


def touched(net: nn.Module, data: Dataset, share: float) -> Dataset:
    """A strong friend has touched this share of the mistakes."""
    craft = Craft(
        net=net,
        threat=CONFIG.threat,
        noise=Noise(5),
        margins=torch.zeros(1),
        score=lambda *at: at[1],
    )
    x = data.pixels.float() / 255
    with torch.no_grad():
        wrong = (net(x).argmax(1) != data.y).nonzero().flatten()
    at = wrong[: round(share * len(wrong))]
    points = craft.stored("strong", x[at], data.y[at], at)
    pixels = data.pixels.clone()
    pixels[at] = (points * 255).round().to(torch.uint8)
    return replace(data, pixels=pixels)


@pytest.fixture(scope="module")
def found(net, clean, fresh) -> dict[float, Inspection]:
    """Inspections by the share of mistakes that is touched."""
    bench = Bench.of(net, clean, CONFIG)
    return {share: bench.inspected(touched(net, fresh, share), 0) for share in (0, 0.5)}


def test_a_planted_set_is_found_and_a_clean_one_is_not(found) -> None:
    assert found[0.5].outcome == "fail"
    assert found[0.5].p <= 0.05
    assert found[0].outcome != "fail"
    assert found[0].p > 0.05


def test_the_share_is_estimated_with_an_interval(found) -> None:
    truth = (found[0.5].right - found[0].right) / 300
    assert truth > 0.05
    assert found[0.5].low - 0.02 <= truth <= found[0.5].high + 0.02
    assert found[0].low < 0.01
    assert found[0].share < 0.03


def test_unusual_images_are_counted_beside_clean_ones(found) -> None:
    assert found[0.5].unusual.value > 0.1 > found[0].unusual.value
    assert found[0.5].unusual.n == found[0.5].right


def test_friends_and_false_alarms_are_measured_on_other_images(found) -> None:
    strong, *_, adaptive = found[0].friends
    assert strong.kind == "strong"
    assert strong.auc.value > 0.95
    assert strong.smallest is not None
    assert strong.smallest < 60
    assert adaptive.auc.value < strong.auc.value
    assert {one.kind for one in found[0].clean} >= {"as they are", "JPEG, quality 75"}
    for one in found[0].clean:
        assert one.alarms.n == 99
        assert one.alarms.value < 0.2


def test_what_cannot_be_excluded_is_always_said(found) -> None:
    for inspection in found.values():
        text = " ".join(plain(inspection_page(inspection, CONFIG, "net", "set").blocks).split())
        assert "Touched cannot be excluded" in text
        assert "by one who does" in text
        assert "smallest share found, power .8" in text
        assert "false alarms, of 99 sets" in text
    shown = inspection_page(found[0], CONFIG, "net", "set").plain
    assert shown["outcome"] == found[0].outcome
    assert shown["inspection"]["friends"][0]["auc"]["low"] is not None


def test_nothing_found_is_only_said_where_a_share_that_matters_would_have_been(found) -> None:
    quiet = found[0]
    assert quiet.smallest is not None
    enough = replace(quiet, matters=quiet.smallest / quiet.examples)
    assert enough.outcome == "pass"
    assert replace(quiet, matters=0.99 * enough.matters).outcome == "inconclusive"
    blind = tuple(replace(one, smallest=None) for one in quiet.friends)
    assert replace(quiet, friends=blind).outcome == "inconclusive"
    assert "at any share" in plain(
        inspection_page(replace(quiet, friends=blind), CONFIG, "net", "set").blocks
    )


def test_a_set_of_another_kind_is_not_called_touched(found) -> None:
    planted = found[0.5]
    few = replace(planted, right=round(0.89 * planted.clean_accuracy * planted.examples))
    assert (planted.outcome, few.outcome) == ("fail", "inconclusive")
    assert "far fewer right" in " ".join(
        plain(inspection_page(few, CONFIG, "n", "s").blocks).split()
    )


def test_clean_images_that_are_in_the_set_are_left_out(net, clean) -> None:
    again = clean.select(torch.arange(20), "test")
    from fftune.forensics.inspection import _without

    kept, dropped = _without(clean, again)
    assert (len(kept), dropped) == (880, 20)


def test_without_clean_images_nothing_is_decided(net, fresh) -> None:
    bare, planted = (look(net, touched(net, fresh, share), CONFIG) for share in (0, 0.5))
    assert planted.alike.value > bare.alike.value + 0.05
    text = plain(look_page(planted, "net").blocks)
    assert "INCONCLUSIVE" in text
    assert "--clean" in text


def test_too_little_to_inspect_is_said(net, clean, fresh) -> None:
    always_right = smooth_images(net, 300, seed=4, wrong=0)
    with pytest.raises(DataError, match="the net gets 0 wrong: our own friends need 10 mistakes"):
        inspect_set(net, fresh, always_right, CONFIG)
    small = replace(clean, pixels=clean.pixels[..., :8, :8])
    with pytest.raises(DataError, match="clean: images of 'smooth' are"):
        inspect_set(net, fresh, small, CONFIG)
    with pytest.raises(DataError, match="the net gets 0 images of 'smooth' wrong"):
        look(net, always_right, CONFIG)


@pytest.mark.parametrize("setting", [{"friends": 9}, {"sets": 38}, {"matters": 0.0}])
def test_useless_settings_are_refused(setting) -> None:
    with pytest.raises(ConfigError, match=next(iter(setting))):
        InspectConfig(threat=ThreatModel(), **setting)
