"""Optuna's plots of a search hold its trials."""

from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fftune.config import Dimension, SweepConfig, to_json
from fftune.report.publish import publish
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.sweeping.optuna_plots import search_plots
from fftune.sweeping.optuna_study import open_search, tell
from fftune.sweeping.search_space import suggest
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.trial_results import Failure, SeedResult

WRONG = (10, 20, 30)
"""Of 100, a trial each; half of them concealed by two, and a fourth trial fails."""


def searched(config: SweepConfig, root: Path):
    """A study's search as a driver leaves it, and its front."""
    folder = StudyDir(root / "studies" / config.name, config)
    folder.path.mkdir(parents=True)
    search, points = open_search(folder), []
    for wrong in WRONG:
        trial = search.ask()
        settings = suggest(trial, config)
        counts = RiskCounts(total=100, wrong=wrong, concealed=(40 - wrong) // 4)
        point = SeedResult(
            trial=trial.number, lam=settings["lam"], settings=settings, seed=0,
            model_hash=str(wrong), validation=counts, test=counts,
            train_seconds=1.0, evaluate_seconds=1.0,
        )  # fmt: skip
        folder.trial(trial.number).mkdir(parents=True)
        tell(search, trial.number, [point], config)
        points.append(point)
    broken = search.ask()
    suggest(broken, config)
    tell(search, broken.number, Failure(trial=3, lam=1.0, reason="broke"), config)
    front = Front(
        study=config.name, objective="thrm", selection="validation", results=tuple(points)
    )
    write_text(folder.path / "config.json", to_json(config))
    front.write(folder.path / "front.json")
    return search


def test_the_plots_hold_the_trials_values(quick: SweepConfig, tmp_path: Path) -> None:
    found = search_plots(searched(quick, tmp_path))
    assert set(found) == {
        "Pareto front", "Timeline",
        "Natural risk, trial by trial", "Natural risk, slice",
        "Hypocritical risk, trial by trial", "Hypocritical risk, slice",
    }  # fmt: skip
    natural = [wrong / 100 for wrong in WRONG]
    concealed = [(40 - wrong) // 4 / wrong for wrong in WRONG]
    for name, values in (("Natural", natural), ("Hypocritical", concealed)):
        history = found[f"{name} risk, trial by trial"].data[0]
        assert list(history.x) == [0, 1, 2]
        assert list(history.y) == pytest.approx(values)
        (line,) = found[f"{name} risk, slice"].data
        assert list(line.x)[:2] == [0, 100]
        assert list(line.y) == pytest.approx(values)
    pareto = {
        pair for trace in found["Pareto front"].data for pair in zip(trace.x, trace.y, strict=True)
    }
    assert pareto == set(zip(natural, concealed, strict=True))
    axes = found["Pareto front"].layout
    assert axes.xaxis.title.text == "natural risk"
    assert axes.yaxis.title.text == "hypocritical risk"


def test_two_parameters_have_parallel_coordinates(quick: SweepConfig, tmp_path: Path) -> None:
    lam = Dimension(path="lam", low=0, high=100, scale="log1p")
    lr = Dimension(path="optimizer.lr", low=0.01, high=0.1)
    found = search_plots(searched(replace(quick, space=(lam, lr), strategy="tpe"), tmp_path))
    figure = found["Natural risk, parallel coordinates"]
    assert list(figure.layout.xaxis.ticktext) == ["natural risk", "log1p(lam)", "optimizer.lr"]
    lines = [line.y[0] for line in figure.data if len(line.x) == 3]
    assert lines == pytest.approx([0, 0.5, 1])  # of its range, a line a trial


def test_the_plots_lie_beside_the_report_and_in_mlflow(quick, root: Path) -> None:
    searched(quick, root)
    said = publish(["quick"], root).text
    page = root / "studies/quick/search.html"
    assert f"search  {page}\n" in said
    html = page.read_text()
    assert html.count("Plotly.newPlot(") == 6
    assert "<h2>Pareto front</h2>" in html and "src=" not in html.split("<h2>")[0]

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(quick.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    kept = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert kept == ["report.html", "search.html"]


def test_a_search_out_of_reach_leaves_the_report_alone(quick, root, monkeypatch, caplog) -> None:
    searched(quick, root)
    monkeypatch.setenv("FFTUNE_DB", "sqlite:////nowhere/x.db")
    said = publish(["quick"], root).text
    assert "report  " in said and "search  " not in said
    assert "no history of the search: study 'quick' began with its journal" in caplog.text
