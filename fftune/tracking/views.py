"""Fronts as MLflow runs, and the saved view that compares them in MLflow's web pages."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence

from fftune.secrets import redacted
from fftune.tracking.runs import REPLACED, TrackedRun, in_place_of, rewrite
from fftune.tracking.store import Tracking, answering


def log_front(
    tracking: Tracking,
    name: str,
    points: Sequence[tuple[float, float]],
    *,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    pages: Mapping[str, str],
    risk: str = "hypocritical_risk",
) -> None:
    """Log a front as a run whose *steps* are its points, so that MLflow draws it as a curve.

    It takes the place of earlier fronts with these tags. One of equal points and metrics stays, and
    gets the new pages.

    Args:
        points: (natural risk, the other risk), sorted by the first.
        risk: name of the other risk.
        metrics: numbers about the front as a whole.
        pages: HTML to store with the run, by file name.
    """
    said = json.dumps([list(points), dict(metrics), sorted(pages)])
    content = {"fftune.content": hashlib.sha256(said.encode()).hexdigest()[:16]}
    with in_place_of(tracking, tags):
        if not rewrite(tracking, {**tags, **content}, pages):
            run = TrackedRun(tracking, name, tags={**tags, **content}, params={}, replaces=tags)
            _write_front(run, points, metrics, pages, risk)


def _write_front(
    run: TrackedRun,
    points: Sequence[tuple[float, float]],
    metrics: Mapping[str, float],
    pages: Mapping[str, str],
    risk: str,
) -> None:
    for step, (natural, other) in enumerate(points):
        run.metrics({"front/natural_risk": natural, f"front/{risk}": other}, step)
    run.metrics(metrics)
    for file, html in pages.items():
        run.text(file, html)
    run.end()


VIEW = "fftune"
"""Name of the saved view in each experiment."""


def save_view(tracking: Tracking) -> str:
    """Save the view that compares fronts in the experiment, and return its URL without password.

    Uses MLflow's tag for shared views (3.15 and later). The format is internal to MLflow, hence
    the pinned minor version.

    Raises:
        StorageError: the store does not answer; it says why.
    """
    now = int(time.time() * 1000)
    view = {"name": VIEW, "createdAt": now, "updatedAt": now, "state": _view_state()}
    with answering(tracking.uri):
        key = f"mlflow.sharedViewState.{VIEW}"
        tracking.client().set_experiment_tag(tracking.experiment_id, key, json.dumps(view))
    http = tracking.uri.startswith("http")
    base = redacted(tracking.uri).rstrip("/") if http else "http://127.0.0.1:5000"
    return (
        f"{base}/#/experiments/{tracking.experiment_id}/runs?viewStateShareKey={VIEW}"
        "&compareRunsMode=CHART&workflowType=machine_learning"
    )


def _view_state() -> str:
    """Build MLflow's JSON of a view with four charts: points, fronts, lambda and hypervolume."""
    risks = ("natural_risk", "hypocritical_risk")
    charts = [
        _chart("points", "SCATTER", xaxis=_axis(risks[0]), yaxis=_axis(risks[1])),
        _chart(
            "fronts",
            "LINE",
            metricKey=f"front/{risks[1]}",
            selectedMetricKeys=[f"front/{risks[1]}"],
            xAxisKey="metric",
            selectedXAxisMetricKey=f"front/{risks[0]}",
            yAxisKey="metric",
            yAxisExpressions=[],
            xAxisScaleType="linear",
            scaleType="linear",
            range={},
            lineSmoothness=0,
            useGlobalXaxisKey=False,
            useGlobalLineSmoothing=False,
            ignoreOutliers=False,
            displayPoints=True,
        ),
        _chart(
            "lambda", "PARALLEL", selectedParams=["lam"], selectedMetrics=risks, showAllRuns=False
        ),
        _chart(
            "volume",
            "BAR",
            metricKey="front/hypervolume",
            dataAccessKey="front/hypervolume",
        ),
    ]
    section = {
        "uuid": VIEW,
        "name": "Pareto fronts",
        "display": True,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
        "columns": 2,
        "cardHeight": 430,
    }
    state = {
        "searchFilter": f"tags.`{REPLACED}` IS NULL",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["params.`lam`", *(f"metrics.`{risk}`" for risk in risks)],
        "columnOrder": [],
        "columnWidths": {},
        "runsHidden": [],
        "runsHiddenMode": "SHOWALL",
        "viewMaximized": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "runsExpanded": {},
        "runsPinned": [],
        "autoRefreshEnabled": False,
        "globalLineChartConfig": {
            "xAxisKey": "step",
            "lineSmoothness": 0,
            "selectedXAxisMetricKey": "",
        },
        "compareRunCharts": charts,
        "compareRunSections": [section],
        "isAccordionReordered": True,
        "runListHidden": True,
    }
    return json.dumps(state)


def _chart(uuid: str, kind: str, **settings: object) -> dict[str, object]:
    return {
        "uuid": uuid,
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": VIEW,
        "deleted": False,
        "isGenerated": False,
        **settings,
    }


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC", "dataAccessKey": metric}
