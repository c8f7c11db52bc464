"""Friends as files: rounding inside the ball, JPEG, and the rows of both beside the exact ones."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fftune.config import BatteryConfig, ThreatModel
from fftune.defenses.jpeg import jpeg
from fftune.errors import ConfigError
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.stored_forms import StoredForm, on_levels
from fftune.outcomes import CERTIFIED
from fftune.report.evaluation_page import EvaluatedNet, net_page
from fftune.report.evaluation_summary import net_rates
from fftune.report.stored_table import stored_blocks
from fftune.report.terminal import plain
from fftune.result import Evaluation
from fftune.threat import project
from tests.evaluation.subjects import job_of, model_under_test, rows_of

EPS = 8 / 255


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    eps=st.sampled_from([0.0, 0.3 / 255, 0.5 / 255, 1.5 / 255, 8 / 255, 0.1, 0.5]),
    norm=st.sampled_from(["linf", "l2"]),
    levels=st.sampled_from([255, 16, 1]),
)
def test_rounding_never_leaves_the_ball(seed, eps, norm, levels) -> None:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randint(levels + 1, (3, 1, 4, 4), generator=draws).float() / levels
    threat = ThreatModel(norm=norm, eps=eps)
    x_pert = project(x + eps * torch.randn(x.shape, generator=draws), x, threat)
    stored = on_levels(x_pert, x, threat)
    assert torch.equal((stored * 255).round() / 255, stored), "whole levels"
    assert 0 <= float(stored.min()) <= float(stored.max()) <= 1
    middle = (x * 255).round() / 255  # the clean image's own file
    moved = (stored - middle).flatten(1)
    if norm == "l2":
        assert (moved.norm(dim=1) <= (x_pert - middle).flatten(1).norm(dim=1) + 1e-5).all()
        if levels == 255:
            assert (moved.norm(dim=1) <= eps + 1e-5).all()
    else:
        assert ((stored - x).abs() <= max(eps, 0.5 / 255) + 1e-5).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), levels=st.sampled_from([255, 16]))
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_untouched_image_is_stored_as_it_is(norm, seed, levels) -> None:
    draws = torch.Generator().manual_seed(seed)
    x = torch.randint(levels + 1, (2, 3, 4, 4), generator=draws).float() / levels
    for eps in (0.0, 0.3 / 255, EPS):
        stored = on_levels(x, x, ThreatModel(norm=norm, eps=eps))
        assert torch.equal(stored, (x * 255).round() / 255)


@pytest.mark.parametrize(
    ("point", "stored"),
    [(100.6, 101), (108.0, 108), (107.9, 108), (108.4, 108), (92.0, 92), (92.2, 92), (100.4, 100)],
)
def test_the_nearest_level_inside_the_ball_is_taken(point: float, stored: int) -> None:
    x, x_pert = (torch.full((1, 1, 1, 1), value / 255) for value in (100.0, point))
    found = on_levels(x_pert, x, ThreatModel(eps=8.5 / 255))
    assert round(float(found) * 255) == stored


def test_a_level_outside_a_small_ball_is_not_taken() -> None:
    x, x_pert = (torch.full((1, 1, 1, 1), value / 255) for value in (100.0, 101.6))
    found = on_levels(x_pert, x, ThreatModel(eps=1.6 / 255))  # 102 is nearer, and outside
    assert round(float(found) * 255) == 101


def test_in_l2_every_value_goes_towards_the_clean_pixel() -> None:
    x, x_pert = (torch.full((1, 1, 1, 1), value / 255) for value in (100.0, 101.9))
    found = on_levels(x_pert, x, ThreatModel(norm="l2", eps=0.5))
    assert round(float(found) * 255) == 101


def test_a_jpeg_is_what_the_library_makes_of_it() -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(eps=EPS)
    assert torch.equal(StoredForm("jpeg-50").stored(x, x, threat), jpeg(x, quality=50))


BATTERY = BatteryConfig(steps=3, precision="fp32", stored=("png", "jpeg"))


def test_rows_of_stored_points_stand_beside_the_exact_ones(toy, blobs) -> None:
    threat = ThreatModel(eps=0.1)
    found = evaluate(toy, blobs, BATTERY, threat=threat)
    bare = evaluate(toy, blobs, replace(BATTERY, stored=()), threat=threat)
    assert found.stored_forms == {"png", "jpeg-75"}
    assert found.defenses == frozenset(), "a form of files is no defense"
    exact = found.where(defense="none")
    assert exact.to_pandas().astype(str).equals(bare.to_pandas().astype(str))
    for form in ("png", "jpeg-75"):
        rows = found.where(defense=f"stored-{form}").to_pandas()
        assert len(rows) == len(exact)
        assert (rows["success"] == (rows["pred_pert"] == rows["y"]))[
            rows["goal"] == "hypocritical"
        ].all()
    png = found.where(defense="stored-png").to_pandas()
    assert (png["distance"] <= 0.1 + 1e-5).all(), "inside the ball"
    assert (png["pred_clean"] == png["pred_clean_defended"]).all(), "no untouched image flips"
    assert (found.where(defense="stored-jpeg-75").to_pandas()["distance"] > 0.1).any()


def test_rates_as_files_are_counted_and_shown_beside_the_others(toy, blobs) -> None:
    found = evaluate(toy, blobs, BATTERY, threat=ThreatModel(eps=0.1))
    rates = net_rates(found)
    for goal in ("adversarial", "hypocritical"):
        png = found.where(defense="stored-png", goal=goal).to_pandas()
        right = png["pred_clean_defended"] == png["y"]
        risky = png[right if goal == "adversarial" else ~right]
        rate = rates[f"stored/png/risk/pgd-3 {goal}"]
        assert (rate.count, rate.n) == (int(risky["success"].sum()), len(risky))
    text = plain(stored_blocks(found))
    assert "as png" in text
    assert "as jpeg-75" in text
    assert "exact points" in text
    risks = Evaluation(found).risks()
    exact = Evaluation(found.where(defense="none")).risks()
    assert dict(risks) == dict(exact), "the worst case is that of exact points"
    (question,) = found.questions
    from fftune.evaluation.question import read_question

    net = EvaluatedNet(question=read_question(question), outcomes=found)
    assert "As files" in plain(net_page(net))
    assert not net.is_defended


def test_blocks_of_stored_forms_are_kept_apart_and_found_again(tmp_path, toy, blobs) -> None:
    threat = ThreatModel(eps=0.02)
    job = job_of(toy, blobs, replace(BATTERY, stored=("png",)), threat=threat)
    plain_job = job_of(toy, blobs, replace(BATTERY, stored=()), threat=threat)
    subject = model_under_test(toy, blobs)
    columns = subject.columns | {"model_hash": job.model_hash}
    subject = replace(subject, stored=(StoredForm("png"),), columns=columns)
    cache = BlockCache(tmp_path, job, "net", "cpu")
    first = rows_of(subject, job, cache)
    kept = sorted(tmp_path.rglob("*.parquet"))
    task, *_ = job.tasks(job.attacks[0])
    assert cache.get(task) is not None
    assert BlockCache(tmp_path, plain_job, "net", "cpu").get(task) is None
    assert rows_of(subject, job, cache).table.equals(first.table)
    assert sorted(tmp_path.rglob("*.parquet")) == kept


def test_bounds_and_controls_are_no_files(toy, blobs) -> None:
    found = evaluate(toy, blobs, BATTERY, threat=ThreatModel(eps=0.02))
    assert CERTIFIED not in found.values("attack")
    assert {"pgd-3"} == found.where(defense="stored-png").values("attack")


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (("gif",), "stored must be 'png' or 'jpeg-QUALITY' with a quality from 1 to 100"),
        (("jpeg-0",), "from 1 to 100"),
        (("jpeg-",), "from 1 to 100"),
        (("jpeg", "jpeg-75"), "stored must be different"),
    ],
)
def test_unknown_forms_are_refused(stored, told) -> None:
    with pytest.raises(ConfigError, match=told):
        BatteryConfig(stored=stored)
