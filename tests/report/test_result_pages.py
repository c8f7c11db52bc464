"""Pages of fronts, trainings and the doctor by hand: 80 and 140 columns, JSON and CSV."""

import csv
import io
import json
from dataclasses import replace
from math import isclose, nan

import pytest

from fftune import recipes
from fftune.config import ThreatModel
from fftune.doctor.check import Check
from fftune.doctor.examination import Examination
from fftune.report.doctor_page import doctor_page
from fftune.report.front_page import front_page
from fftune.report.result_page import FIELDS, ResultPage
from fftune.report.terminal import plain
from fftune.report.training_page import training_page
from fftune.risk import Rate
from fftune.sweeping.trial_results import SeedResult
from fftune.training.checkpoint import Checkpoint
from fftune.training.history import EpochRecord
from tests.report.test_report import study


def said(page: ResultPage, width: int) -> list[str]:
    """Lines with single spaces, none wider than the terminal."""
    lines = plain(page.blocks, width).splitlines()
    assert max(map(len, lines)) <= width
    return [" ".join(line.split()) for line in lines]


def forms(page: ResultPage) -> tuple[dict, list[dict[str, str]]]:
    """The page as JSON and as rows of CSV, which hold equal numbers."""
    written = {form: io.StringIO() for form in ("json", "csv")}
    for form, stream in written.items():
        page.write(form, stream)
    told = json.loads(written["json"].getvalue())
    rows = list(csv.DictReader(io.StringIO(written["csv"].getvalue())))
    assert [list(row) for row in rows] == [list(FIELDS)] * len(told["figures"])
    for figure, row in zip(told["figures"], rows, strict=True):
        assert row == {k: "" if v is None else str(v) for k, v in figure.items()}
    return told, rows


def test_a_front_names_its_worst_models(quick) -> None:
    page = front_page([study(quick, "a")], [], ["report  /x/report.html"])
    lines = said(page, 100)
    assert "trial lambda front natural risk hypocritical risk inflation" in lines
    assert "0 0 yes 14.6 % (12.7 to 16.7) 98.9 % (95.9 to 99.7)* 14.5 % (12.6 to 16.6)*" in lines
    assert "1 100 yes 16.6 % (14.6 to 18.8)* 75.9 % (69.5 to 81.3) 12.6 % (10.9 to 14.6)" in lines
    assert "report /x/report.html" in lines and " ".join(lines[-2:]).endswith("12.6 to 16.6).")
    said(page, 80)
    told, rows = forms(page)
    by = {(f["trial"], f["split"], f["figure"]): f for f in told["figures"]}
    one = by[1, "test", "hypocritical_risk"]
    assert (one["count"], one["n"], one["lam"], one["seed"]) == (151, 199, 100.0, 0)
    assert isclose(one["low"], Rate(151, 199).interval[0]) and len(rows) == len(by)


def test_models_of_several_seeds_stand_as_their_means(quick) -> None:
    first = study(quick, "a")
    both = tuple(replace(r, seed=seed) for r in first.front.results for seed in (0, 1))
    front = replace(first.front, results=both)
    page = front_page([replace(first, front=front)], [], [])
    lines = said(page, 140)
    assert "trial lambda seeds front natural risk hypocritical risk inflation" in lines
    assert any(line.startswith("0 0 2 ") and "14.6 %" in line for line in lines)
    told, _ = forms(page)
    means = [f for f in told["figures"] if f["figure"] == "mean/natural_risk"]
    assert [f["seed"] for f in means] == [None] * 4 and isclose(means[1]["value"], 175 / 1197)


def trained(objective: str, epochs: int) -> Checkpoint:
    config = recipes.training(objective, recipes.Basis(scale="tiny"))
    history = [
        EpochRecord(
            epoch=i,
            lr=0.1,
            loss=1 / i,
            accuracy=i / 20,
            seconds=2.0,
            examples_per_second=1.0,
            validation_accuracy=0.5 if i == epochs else nan,
        )
        for i in range(1, epochs + 1)
    ]
    return Checkpoint(config=config, inputs=None, model=None, history=history, data_hash="d")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("objective", "of"),
    [("thrm", "clean"), ("standard", "clean"), ("pgd_at", "perturbed as they are trained on")],
)
def test_a_training_says_what_its_accuracies_are_of(tmp_path, objective, of) -> None:
    page = training_page("mine", trained(objective, 20), tmp_path)
    lines = said(page, 140)
    assert lines[-1] == (
        f"20 epochs trained: accuracy 100.0 % on training images, {of}; "
        "50.0 % on validation images."
    )
    assert lines[-2] == f"checkpoint {tmp_path}/checkpoint"
    assert "epoch loss training images validation images time" in lines
    assert "1 1.0000 5.0 % - 2 s" in lines and "20 0.0500 100.0 % 50.0 % 40 s" in lines
    assert sum(line.endswith(" s") for line in lines) == 8  # evenly spread
    told, _ = forms(page)
    assert told["checkpoint"] == f"{tmp_path}/checkpoint" and told["verb"] == "train"
    assert sum(f["figure"].endswith("/accuracy") for f in told["figures"]) == 20


def test_a_training_names_its_other_nets_and_marks_them(tmp_path) -> None:
    (tmp_path / "average").mkdir()
    (tmp_path / "average/model.json").touch()
    checkpoint = trained("thrm", 20)
    every_second = [
        replace(epoch, validation_accuracy=0.5 if epoch.epoch % 2 == 0 else nan)
        for epoch in checkpoint.history
    ]
    page = training_page("my run", replace(checkpoint, history=every_second), tmp_path)
    lines = said(page, 140)
    at = lines.index(
        "beside it average (moving average of the weights), not as published: papers take the "
        "last net;"
    )
    assert lines[at + 1] == "`fftune evaluate 'my run' --variants` compares them"
    assert sum(line.endswith(" s") and " - " not in line for line in lines) == 7  # validated ones
    told, _ = forms(page)
    assert told["not_as_published"] == {"average": f"{tmp_path}/average"}


def test_the_doctor_marks_what_fails() -> None:
    good = Check(name="logits", passed=True, evidence="from -5.5 to 8.4 " * 8)
    bad = Check(name="black-box attacks are no better than gradients", passed=False, evidence="x")
    found = Examination(
        net="mine", weights="1a2b3c4d5e", data="digits", split="test", n=60, device="cpu", seed=0,
        threat=ThreatModel(eps=8 / 255), defense="none", evaluation=(good,), gradients=(bad,),
    )  # fmt: skip
    page = doctor_page(found)
    for width in (80, 140):
        lines = said(page, width)
        assert any(line.startswith("FAIL* black-box attacks") for line in lines)
        assert not any(line.startswith("pass*") for line in lines)
        assert " ".join(lines).count("from -5.5 to 8.4") == 8
    told, rows = forms(page)
    assert (told["passed"], [row["value"] for row in rows]) == (False, ["1.0", "0.0"])
    assert "no defense" not in lines
    blind = doctor_page(replace(found, gradients=None))
    assert "not looked for" in " ".join(said(blind, 80)) and not blind.more["passed"]


def test_a_seed_result_of_one_split_is_undefined_not_zero(quick) -> None:
    first = study(quick, "a")
    empty: tuple[SeedResult, ...] = tuple(
        replace(r, validation=replace(r.validation, total=0, wrong=0, concealed=0, fooled=0))
        for r in first.front.results
    )
    page = front_page([replace(first, front=replace(first.front, results=empty))], [], [])
    told, rows = forms(page)
    undefined = [f for f in told["figures"] if f["split"] == "validation"]
    assert undefined and all(f["value"] is None and f["n"] == 0 for f in undefined)
    assert all(row["value"] == "" for row in rows if row["split"] == "validation")
