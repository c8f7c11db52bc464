from dataclasses import replace
from pathlib import Path

import pytest

from fftune.papers.artifacts import Built
from fftune.papers.declarations import Setup
from fftune.papers.pages.publish import log
from fftune.tracking.runs import REPLACED, TrackedRun
from fftune.tracking.store import open_tracking
from tests.papers.pages.test_page import FAILED, T4, T16
from tests.papers.pages.test_render import TABLE

FULL = Setup(scale="full")


def runs(root: Path, scale: str = "full"):
    tracking = open_tracking(root, f"papers-{scale}")
    return tracking.client().search_runs([tracking.experiment_id], f"tags.`{REPLACED}` IS NULL")


def test_a_key_is_a_run_with_its_numbers_tables_and_directions(root: Path) -> None:
    log([T16, FAILED], FULL, root)
    (run,) = runs(root)
    assert run.info.run_name == "P1.T16"
    assert run.data.metrics == pytest.approx(
        {
            "T16/Poisoning/D": 81.2,
            "T16/A Poisoning/PGD": 60.0,
            "T16/A Poisoning/cert_1": 47.2,
            "T16/Quality/D": 56.666,
            "T16/A Quality/cert_1": 33.0,
            "difference/T16/Poisoning/D": 0.01,
            "difference/T16/A Poisoning/PGD": 4.38,
            "difference/T16/A Poisoning/cert_1": -0.05,
        }
    )
    assert run.data.tags["fftune.not_found"] == "A < D"
    assert (run.data.tags["fftune.key"], run.data.tags["fftune.scale"]) == ("P1.T16", "full")
    client = open_tracking(root, "papers-full").client()
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"P1.T16.txt", "P1.T16.html", "P1.T16.csv"}


def test_a_run_gives_way_to_its_own_successor_alone(root: Path) -> None:
    tracking = open_tracking(root, "papers-full")
    TrackedRun(tracking, "mine", tags={"fftune.key": "P1.T16"}, params={}).end()
    log([T16, T4], FULL, root)
    log([T16], Setup(scale="tiny"), root)
    before = {run.info.run_name: run.info.run_id for run in runs(root)}
    changed = replace(T16, artifacts=(replace(TABLE, notes=("another",)),))
    log([changed, T4], FULL, root)
    after = {run.info.run_name: run.info.run_id for run in runs(root)}
    assert before.keys() == after.keys() == {"mine", "P1.T16", "P1.T4"}
    assert before["P1.T16"] != after["P1.T16"]
    assert (before["P1.T4"], before["mine"]) == (after["P1.T4"], after["mine"]), "nothing is new"
    assert len(runs(root, "tiny")) == 1


def test_names_of_metrics_are_those_that_mlflow_takes(root: Path) -> None:
    hostile = replace(
        TABLE, corner="λ (%)", rows=tuple(replace(r, label="1&<") for r in TABLE.rows[:1])
    )
    log([Built(key="P1.T16", title="t", artifacts=(hostile,))], FULL, root)
    (run,) = runs(root)
    assert "T16/A λ ___ 1__/PGD" in run.data.metrics
