"""Optuna's plots of a search hold its trials."""

import math
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest

from fftune.config import Dimension, SweepConfig, to_json
from fftune.report.legible import legible
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


def contrast(colour: str) -> float:
    """WCAG's ratio to white."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_nothing_is_drawn_white_on_white(quick: SweepConfig, tmp_path: Path) -> None:
    lam = Dimension(path="lam", low=0, high=100, scale="log1p")
    lr = Dimension(path="optimizer.lr", low=0.01, high=0.1)
    found = search_plots(searched(replace(quick, space=(lam, lr), strategy="tpe"), tmp_path))
    for figure in found.values():
        legible(figure, ["natural risk", "hypocritical risk"], [])
        for trace in figure.data:
            scale = getattr(trace, "marker", None) and trace.marker.colorscale
            colours = [colour for _, colour in scale or ()]
            if trace.type == "scatter" and trace.mode == "lines" and trace.line.color:
                colours.append(trace.line.color)
            assert all(contrast(colour) >= 3 for colour in colours)
    parallel = found["Natural risk, parallel coordinates"]
    assert len({trace.line.color for trace in parallel.data if len(trace.x) == 3}) == 3
    slices = found["Natural risk, slice"].layout
    assert slices.yaxis.tickformat == ".0%"
    assert slices.xaxis.title.text == "lam, along log(1 + lam)"
    assert "100" in slices.xaxis.ticktext


def test_an_axis_is_as_it_was_searched(quick: SweepConfig, tmp_path: Path) -> None:
    """The gap rule searches log(1 + lambda) itself, and tells Optuna of lambda."""
    figure = search_plots(searched(quick, tmp_path))["Natural risk, slice"]
    legible(figure, ["natural risk"], ["lam"])
    assert list(figure.data[0].x)[:2] == pytest.approx([0, math.log(101)])
    ticks = dict(zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext, strict=True))
    assert ticks[math.log1p(100)] == "100"


def test_three_risks_are_drawn_in_pairs(tmp_path: Path) -> None:
    study = optuna.create_study(directions=["minimize"] * 3)
    study.set_metric_names(["natural_risk", "b", "c"])
    for i in range(3):
        trial = study.ask({"x": optuna.distributions.FloatDistribution(0, 1)})
        study.tell(trial, [0.1 * i, 0.9 - 0.1 * i, 0.5])
    found = search_plots(study)
    assert "Pareto front, b" in found and "Pareto front, c" in found
    assert not any(trace.type == "scatter3d" for f in found.values() for trace in f.data)
    points = [pair for t in found["Pareto front, c"].data for pair in zip(t.x, t.y, strict=True)]
    assert sorted(points) == pytest.approx([(0, 0.5), (0.1, 0.5), (0.2, 0.5)])
    constant = found["C, trial by trial"]
    legible(constant, ["c"], [])
    assert constant.layout.yaxis.range == pytest.approx((0.45, 0.55))


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
