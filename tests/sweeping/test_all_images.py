"""Studies that train on every image, as the papers do, and whose front is chosen on test images."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.config import StoppingConfig, SweepConfig, TrainConfig, from_json
from fftune.errors import ConfigError
from fftune.outcomes import Outcomes
from fftune.report.publish import publish
from fftune.sweeping.cost import cost
from fftune.sweeping.front import Front
from fftune.sweeping.sweep import sweep
from fftune.training.train import check

SET = "synthetic:shape=1x8x8,classes=4,train=40,test=40"


@pytest.fixture
def every(quick: SweepConfig) -> SweepConfig:
    """Forty images to train on and none to validate: the front is chosen on test."""
    data = replace(quick.base.data, name=SET, train_size=None, validation_size=0)
    optimizer = replace(quick.base.optimizer, batch_size=20)
    base = replace(quick.base, data=data, optimizer=optimizer)
    return replace(quick, base=base, selection="test", strategy="grid", lam=(0.0, 9.0))


@pytest.mark.some(1)
@pytest.mark.parametrize("seeds", [1, 2])
def test_all_images_train_and_test_chooses(every: SweepConfig, root: Path, seeds: int) -> None:
    every = replace(every, seeds=seeds)
    front = sweep(every, root=root, backend="inline")
    study = root / "studies/quick"
    assert Front.read(study / "front.json").results == front.results
    assert Front.read(study / "front.json").estimates.keys() == front.estimates.keys()
    for point in front.results:
        assert point.test.total == 40 and point.validation.total == 0
    rows = [Outcomes.read(path) for path in study.rglob("outcomes.parquet")]
    assert len(rows) == 2 * seeds and all(set(one.values("split")) == {"test"} for one in rows)
    config = from_json(TrainConfig, next(study.rglob("trials/**/config.json")).read_text())
    assert config.data.validation_size == 0


@pytest.mark.slow
def test_no_number_of_validation_is_made_up(every: SweepConfig, root: Path) -> None:
    front = sweep(every, root=root, backend="inline")
    data = json.loads((root / "studies/quick/front.json").read_text())
    assert data["optimistic"] is True and data["selection"] == "test"
    assert data["hypervolume"]["validation"] is None and data["hypervolume"]["test"] > 0
    assert math.isnan(front.hypervolume("validation"))
    for point in data["points"]:
        assert {point["validation"][c] for c in ("total", "wrong", "concealed", "fooled")} == {0}
        assert point["validation"]["natural_risk"]["value"] is None
        assert point["test"]["natural_risk"]["value"] is not None
    for trial in data["trials"]:
        assert {trial["validation"][r]["mean"] for r in front.risks} == {None}
    publish(["quick"], root)
    page = (root / "studies/quick/report.html").read_text()
    assert "chosen on the test images themselves: optimistic" in page
    assert "undefined, undefined" in page


def test_validation_that_chooses_needs_examples(every: SweepConfig, root: Path) -> None:
    chosen = replace(every, selection="validation")
    with pytest.raises(ConfigError, match=r"base\.data\.validation_size must be >= 1 unless sel"):
        sweep(chosen, root=root, backend="inline")
    assert not (root / "studies").exists()


def test_rungs_need_examples_of_validation(every: SweepConfig, root: Path) -> None:
    stopped = replace(every, stopping=StoppingConfig(rungs=(1,)))
    with pytest.raises(ConfigError, match=r"stopping\.rungs must be empty without .*, got \(1,\)"):
        sweep(stopped, root=root, backend="inline")
    assert not (root / "studies").exists()


def test_looks_at_validation_need_examples_of_it(every: SweepConfig) -> None:
    with pytest.raises(ConfigError, match=r"validate_every must be 0 without .*, got 1"):
        check(replace(every.base, validate_every=1))
    check(every.base)


def test_what_all_images_cost_is_told(every: SweepConfig) -> None:
    """Each of two nets is judged on 40 images: two goals of two steps, and two verdicts each."""
    judged = (
        cost(every).forwards
        - cost(replace(every, battery=replace(every.battery, steps=0))).forwards
    )
    assert judged == 2 * 40 * 2 * 2
