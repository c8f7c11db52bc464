"""What a person sees: the page of one printed address, and the reports, in a real Chromium."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mlflow_server import free_port, served

from fftune.config import SweepConfig, to_json
from fftune.report.publish import publish
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import SeedResult

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

CURVES: dict[str, list[tuple[int, int]]] = {
    "thrm": [(200, 160), (300, 150), (500, 100)],
    "trades": [(200, 180), (400, 240), (600, 120), (800, 40)],
}
"""Of 1,000 test images, how many are wrong and how many of these can be concealed; no three points
are in a line, of which Plotly would leave out the middle one."""


def risks(method: str) -> list[tuple[float, float]]:
    return [(wrong / 1000, concealed / wrong) for wrong, concealed in CURVES[method]]


def seen(address: str, profile: Path) -> str:
    """The page's DOM once its scripts have come to rest; nothing but loopback is reached."""
    flags = [
        *("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        *("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--window-size=1600,1300"),
        *(["--no-sandbox"] if os.getuid() == 0 else []),
        *(f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom"),
    ]
    done = subprocess.run([CHROMIUM, *flags, address], capture_output=True)
    return done.stdout.decode()


def made_up(config: SweepConfig, method: str, root: Path) -> str:
    """A study with a front of these points; its name."""
    points = tuple(
        SeedResult(
            trial=i, lam=10.0 * i, seed=0, model_hash=f"{method}-{i}",
            validation=(counts := RiskCounts(total=1000, wrong=wrong, concealed=concealed)),
            test=counts, train_seconds=1.0, evaluate_seconds=1.0,
        )
        for i, (wrong, concealed) in enumerate(CURVES[method])
    )  # fmt: skip
    name = f"{method}-tiny"
    base = replace(config.base, objective=method)
    folder = root / "studies" / name
    Front(study=name, objective=method, selection="validation", results=points).write(
        folder / "front.json"
    )
    write_text(folder / "config.json", to_json(replace(config, name=name, base=base)))
    return name


@pytest.mark.timeout(1500)
def test_both_fronts_are_curves_over_natural_risk(quick, root: Path, monkeypatch) -> None:
    with served(f"sqlite:///{root / 'served.db'}", root, free_port()) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        said = publish([made_up(quick, method, root) for method in CURVES], root).text
        (printed,) = re.findall(r"^fronts  (\S+)$", said, re.MULTILINE)
        page = seen(printed, root / "profile")
    (chart,) = charts_over(page, "front/natural_risk")
    assert drawn(chart) == len(CURVES)
    for method, line in zip(CURVES, lines(chart, *map(len, CURVES.values())), strict=True):
        assert_affine(line, risks(method))
    for method in CURVES:
        assert f"{method}-tiny front" in page


@pytest.mark.timeout(1500)
def test_the_report_shows_both_fronts(quick: SweepConfig, root: Path, monkeypatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    publish([made_up(quick, method, root) for method in CURVES], root)
    page = seen((root / "reports/thrm-tiny+trades-tiny.html").as_uri(), root / "profile")
    (chart,) = charts_over(page, "natural risk (numbers at points: lambda)")
    for method, line in zip(CURVES, lines(chart, *map(len, CURVES.values())), strict=True):
        assert_affine(line, risks(method))
    legend = re.findall(r'class="legendtext"[^>]*>(.*?)<', page)
    assert set(legend) >= {"thrm-tiny", "trades-tiny"}


def charts_over(page: str, title: str) -> list[str]:
    """The drawings of Plotly's charts with this x-axis; its lines lie before its titles."""
    charts = page.split('<svg class="main-svg"')
    wanted = re.compile(rf'class="xtitle"[^>]*>{re.escape(title)}<')
    return [charts[i - 1] + chart for i, chart in enumerate(charts) if wanted.search(chart)]


Line = list[tuple[float, float]]


def lines(chart: str, *lengths: int) -> list[Line]:
    """The lines with so many points, in pixels; solid ones."""
    paths = re.findall(r'class="js-line" d="M([-\d.,L]*)"', chart)
    found = [[tuple(map(float, at.split(","))) for at in path.split("L")] for path in paths]
    return [next(line for line in found if len(line) == length) for length in lengths]


def drawn(chart: str) -> int:
    """How many lines there are, but for what lies twice at a place."""
    return len(set(re.findall(r'class="js-line" d="([^"]*)"', chart)))


def assert_affine(line: Line, values: Sequence[tuple[float, float]]) -> None:
    """Each axis of the drawing is that risk: pixels are a + b * value, y downwards."""
    for axis, sign in ((0, 1), (1, -1)):
        pixels, risk = [at[axis] for at in line], [value[axis] for value in values]
        slope, shift = np.polyfit(risk, pixels, 1)
        assert sign * slope > 0
        assert np.abs(slope * np.array(risk) + shift - pixels).max() < 0.5
