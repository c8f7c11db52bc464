import base64
import gzip
import re
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from plotly.offline import get_plotlyjs

from fftune.config import Dimension, SweepConfig
from fftune.errors import StudyError
from fftune.report.front_page import front_page
from fftune.report.page import page
from fftune.report.plotly_code import plotly_code
from fftune.report.publish import publish
from fftune.report.results import StudyResult, read_results
from fftune.report.sentences import asked, caveats, headlines
from fftune.report.tables import table
from fftune.report.terminal import markdown, plain
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import Failure, SeedResult
from tests.questions import ASKED


def study(config: SweepConfig, name: str, **changes: object) -> StudyResult:
    """The prototype's numbers: 175 mistakes of 1,197, of which 173 can be hidden."""
    weak = RiskCounts(total=1197, wrong=175, concealed=173, fooled=900)
    robust = RiskCounts(total=1197, wrong=199, concealed=151, fooled=500)
    half = RiskCounts(total=500, wrong=60, concealed=50)
    points = tuple(
        SeedResult(
            trial=i,
            lam=lam,
            seed=0,
            model_hash=f"{name}-{i}" if lam else "the same net",
            validation=replace(half, wrong=60 + i, concealed=50 - 10 * i),
            test=counts,
            train_seconds=1.0,
            evaluate_seconds=1.0,
        )
        for i, (lam, counts) in enumerate([(0.0, weak), (100.0, robust)])
    )
    front = Front(study=name, objective="thrm", selection="validation", results=points)
    return StudyResult(replace(config, name=name), replace(front, **changes))


def test_the_sentence(quick: SweepConfig) -> None:
    assert headlines([study(quick, "thrm-tiny")]) == [
        "The model trained with lambda = 0 (standard training) errs on 14.6% of 1,197 clean test "
        "images, yet scores 99.8% once a false friend has touched them: hypocritical risk 98.9%, "
        "173 of its 175 mistakes (95 % interval 95.9% to 99.7%), which inflates the score by 14.5 "
        "points (95 % interval 12.6 to 16.6)."
    ]


@pytest.mark.parametrize(
    ("base", "searched", "method"),
    [
        ("thrm", {}, "standard training"),
        ("trades", {}, "standard training"),
        ("standard", {}, "standard training"),
        ("pgd_at", {}, "pgd_at"),
        ("fast_at", {}, "fast_at"),
        ("thrm", {"objective": "pgd_at"}, "pgd_at"),
        ("pgd_at", {"objective": "standard"}, "standard training"),
    ],
)
def test_the_method_is_the_nets_own_objective(quick, base, searched, method) -> None:
    result = study(replace(quick, base=replace(quick.base, objective=base)), "a")
    points = tuple(replace(p, settings=searched) for p in result.front.results)
    front = replace(result.front, results=points)
    (said,) = headlines([replace(result, front=front)])
    assert said.startswith(f"The model trained with lambda = 0 ({method}) errs")


def test_a_searched_objective_names_all_that_are_tried(quick) -> None:
    space = (Dimension(path="objective", choices=("pgd_at", "standard")),)
    assert replace(quick, space=space, strategy="grid").method == "pgd_at+standard"
    assert quick.method == "thrm"


def test_a_remark_is_told_once_with_the_nets_that_it_is_on(quick) -> None:
    front = study(quick, "a").front
    points = [replace(point, remarks=("range: x",)) for point in front.results]
    points[-1] = replace(points[-1], remarks=("range: x", "labels: y"))
    last = f"trial {points[-1].trial}, seed {points[-1].seed}"
    told = [line for line in asked(replace(front, results=tuple(points))) if "Remark" in line]
    assert told == ["Remark on every net of a: range: x", f"Remark on {last}: labels: y"]
    points[0] = replace(points[0], remarks=())
    others = "; ".join(f"trial {p.trial}, seed {p.seed}" for p in points[1:])
    told = [line for line in asked(replace(front, results=tuple(points))) if "Remark" in line]
    assert told[0] == f"Remark on {others}: range: x"


def test_what_was_resolved_and_remarked_is_told_with_a_front(quick) -> None:
    result = study(quick, "a")
    points = (replace(result.front.results[0], remarks=("range: x",)), *result.front.results[1:])
    front = replace(result.front, results=points, questions={"test": ASKED})
    said = caveats([replace(result, front=front)])
    assert said[0] == "images    cifar10, test: n = 1,000 of 10,000"
    assert "ball      linf, eps 0.0313725 (8/255)" in said
    assert "attacks   battery nine, tier full: pgd-20, cw; seed 0" in said
    assert "Remark on trial 0, seed 0: range: x" in said
    assert "Remark on trial 0, seed 0: range: x" in page([replace(result, front=front)])


def test_one_net_of_two_studies_is_told_once(quick: SweepConfig) -> None:
    assert len(headlines([study(quick, "a"), study(quick, "b")])) == 1


def test_the_table_has_a_row_a_model(quick: SweepConfig) -> None:
    rows = table([study(quick, "a"), study(quick, "b")]).to_dict("records")
    assert len(rows) == 4
    assert rows[0] == {
        "study": "a",
        "trial": 0,
        "lambda": "0",
        "front": "*",
        "natural risk": "14.6 (12.7-16.7)",
        "hypocritical risk": "98.9 (95.9-99.7)",
        "n-": "175",
        "inflation": "14.5 (12.6-16.6)",
        "validation": "12.0, 83.3",
        "D": "85.4",
        "A": "10.2",
        "F": "99.8",
        "last-iterate violations": "0",
        "crafted": "0",
        "train s": "1",
    }


def test_selection_on_test_says_optimistic(quick: SweepConfig) -> None:
    honest, loose = study(quick, "a"), study(replace(quick, selection="test"), "a")
    assert "optimistic" not in " ".join(caveats([honest]))
    assert "optimistic" in " ".join(caveats([loose]))


def test_one_seed_says_that_it_knows_nothing_of_others(quick: SweepConfig) -> None:
    one, three = study(quick, "a"), study(replace(quick, seeds=3), "b")
    line = "One training seed is no evidence about seeds"
    assert any(said.startswith(line) for said in caveats([one]))
    assert line in page([one])
    assert line in plain(front_page([one], (), ()).blocks, 1000)
    assert line in markdown(front_page([one], (), ()).blocks)
    assert "One training seed" not in " ".join(caveats([three]))
    assert "One training seed in a is no evidence" in " ".join(caveats([one, three]))


def test_the_page_needs_no_network(quick: SweepConfig) -> None:
    html = page([study(quick, "a"), study(quick, "b")])
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", html)
    assert html.count("a model's") == 0
    for part in ("173 of its 175 mistakes", "Plotly.newPlot", "98.9 (95.9-99.7)", "lower bound"):
        assert part in html
    assert len(html) < 2.1e6  # Plotly's code is larger than that


def test_plotly_is_whole_in_its_wrapping() -> None:
    (packed,) = re.findall(r'atob\("([^"]+)"\)', plotly_code())
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_failures_are_shown_and_escaped(quick: SweepConfig) -> None:
    failure = Failure(trial=2, lam=9.0, reason="loss is <nan>")
    html = page([study(quick, "a", failures=(failure,))])
    assert "lambda 9: loss is &lt;nan&gt;" in html


def write(result: StudyResult, root: Path) -> None:
    from fftune.config import to_json

    folder = root / "studies" / result.config.name
    result.front.write(folder / "front.json")
    write_text(folder / "config.json", to_json(result.config))


def test_studies_that_cannot_be_compared(quick: SweepConfig, tmp_path: Path) -> None:
    other = replace(quick, battery=replace(quick.battery, steps=50))
    write(study(quick, "a"), tmp_path)
    write(study(other, "b"), tmp_path)
    with pytest.raises(StudyError, match=r"'a' and 'b' differ in battery: .*steps=2.*steps=50"):
        read_results(["a", "b"], tmp_path)
    with pytest.raises(StudyError, match="study 'c' has no front; known: a, b"):
        read_results(["c"], tmp_path)


def test_published_fronts_stand_in_one_mlflow_experiment(quick, root: Path) -> None:
    """Twice over: publishing again replaces, it does not pile up."""
    write(study(quick, "a"), root)
    write(study(quick, "b"), root)
    for _ in range(2):
        said = publish(["a", "b"], root)
    assert (root / "reports/a+b.html").exists()
    assert said.blocks[-1] == headlines([study(quick, "a")])[0]

    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(quick.experiment)
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(r.info.run_name for r in runs) == ["a front", "b front"]
    curve = {
        name: [m.value for m in client.get_metric_history(runs[0].info.run_id, f"front/{name}")]
        for name in ("natural_risk", "hypocritical_risk")
    }
    assert curve == {
        "natural_risk": [175 / 1197, 199 / 1197],
        "hypocritical_risk": [173 / 175, 151 / 199],
    }
    assert [f.path for f in client.list_artifacts(runs[0].info.run_id)] == ["report.html"]


@pytest.mark.parametrize("error", [MlflowException("disk I/O error\n[SQL: x]"), OSError("full")])
def test_an_outage_in_the_midst_of_publishing_is_told_on_one_line(
    quick, root: Path, monkeypatch, error
) -> None:
    def fail(*_args: object) -> None:
        raise error

    write(study(quick, "thrm-tiny"), root)
    monkeypatch.setattr(mlflow.MlflowClient, "set_experiment_tag", fail)
    reason = str(error).partition("\n")[0]
    said = " ".join(publish(["thrm-tiny"], root).text.split())
    assert f"mlflow.db' failed: {reason}; `" in said and "report thrm-tiny` tries again" in said
    assert "fronts not in MLflow: MLflow store 'sqlite:///" in said


def test_the_comparison_is_saved_as_a_view_of_mlflow(quick, root: Path) -> None:
    import json

    write(study(quick, "a"), root)
    said = publish(["a"], root)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(quick.experiment)
    view = json.loads(experiment.tags["mlflow.sharedViewState.fftune"])
    state = json.loads(view["state"])
    (line,) = (c for c in state["compareRunCharts"] if c["type"] == "LINE")
    assert line["selectedXAxisMetricKey"] == "front/natural_risk"
    assert line["selectedMetricKeys"] == ["front/hypocritical_risk"]
    address = f"/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=fftune"
    assert address in said.text
