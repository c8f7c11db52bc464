"""A view as a person meets it: in a real Chromium, from a disk, without a network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from made_rows import kept, made, saved

from fftune.config import SweepConfig, to_json
from fftune.risk import RiskCounts
from fftune.storage import write_text
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import SeedResult
from fftune.viewer.view import view_rows, view_study

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
N = 10_000
READY = "document.querySelector('#examples tbody tr[data-row]')"
EVIL = "<img src=x onerror=window.broken=1>"
MOST = 200
"""Milliseconds that a sort or a filter may take."""


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    """A view of 10,000 images under four attacks, of which twelve have pictures."""
    root = tmp_path_factory.mktemp("large")
    y = [i % 10 for i in range(N)]
    clean = [(label + (i % 7 == 0)) % 10 for i, label in enumerate(y)]
    says = {
        ("pgd-2", "adversarial"): [(c + (i % 3 == 0)) % 10 for i, c in enumerate(clean)],
        ("cw", "adversarial"): [(c + (i % 5 == 0)) % 10 for i, c in enumerate(clean)],
        ("pgd-2", "hypocritical"): [
            a if i % 2 else c for i, (a, c) in enumerate(zip(y, clean, strict=True))
        ],
        ("strong", "hypocritical"): y,
    }
    rows = kept(made(y, clean, says), root / "rows.parquet", [EVIL, *"123456789"], net=EVIL)
    ids = list(range(12))
    columns = {"y": y[:12], "pred_clean": clean[:12], "pred": says["pgd-2", "adversarial"][:12]}
    saved(root / "images", ids, columns)
    return view_rows(rows, saved=root / "images")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path / "profile") as one:
        yield one


def timed(browser: Browser, act: str) -> float:
    """Milliseconds until the page is laid out after a script, the best of three: others compute
    on this machine, too.
    """
    script = (
        f"(() => {{ const began = performance.now(); {act}; document.body.offsetHeight;"
        " return performance.now() - began; })()"
    )
    return min(browser.value(script) for _ in range(3))


def test_ten_thousand_images_sort_and_filter_at_once(large: Path, browser: Browser) -> None:
    assert sum(file.stat().st_size for file in large.parent.rglob("*")) < 30e6
    browser.open(large.as_uri(), READY)
    slowest = {}
    for at in range(7):
        for way in ("up", "down"):
            click = f"document.querySelectorAll('#examples thead button')[{at}].click()"
            slowest[f"column {at} {way}"] = timed(browser, click)
    for name, value in (("find", "strong"), ("find", ""), ("verdict", "3"), ("verdict", ""),
                        ("label", "4"), ("breaker", "1")):  # fmt: skip
        act = f"const i = document.getElementById('{name}'); i.value = '{value}';"
        slowest[f"{name} {value}"] = timed(browser, f"{act} i.dispatchEvent(new Event('input'))")
    assert max(slowest.values()) < MOST, slowest
    assert browser.value("document.querySelectorAll('#examples tbody tr').length") < 60
    assert browser.complaints == []


def test_sorting_and_filters_show_the_right_images(large: Path, browser: Browser) -> None:
    browser.open(large.as_uri(), READY)
    cells = "document.querySelectorAll('#examples tbody tr[data-row] th')"
    ids = f"[...{cells}].map((cell) => +cell.textContent)"
    assert browser.value(ids)[:3] == [0, 1, 2]
    head = "document.querySelectorAll('#examples thead th')[0]"
    browser.value(f"{head}.firstChild.click(), {head}.firstChild.click()")
    assert browser.value(ids)[:2] == [9999, 9998]
    assert browser.value(f"{head}.getAttribute('aria-sort')") == "descending"
    verdict = "document.getElementById('verdict')"
    browser.value(f"{verdict}.value = 3, {verdict}.dispatchEvent(new Event('input'))")
    wrong = [i for i in range(N) if i % 7 == 0]
    assert browser.value(ids)[0] == wrong[-1]
    said = browser.value("document.getElementById('count').textContent")
    assert said == f"{len(wrong):,} of 10,000 images of the test split"
    assert browser.complaints == []


def test_names_of_classes_are_texts(large: Path, browser: Browser) -> None:
    browser.open(large.as_uri(), READY)
    assert browser.value("window.broken === undefined")
    assert browser.value("document.querySelectorAll('img[src=x]').length") == 0
    assert browser.value("document.getElementById('title').textContent") == EVIL
    assert EVIL in browser.value("document.getElementById('classes').textContent")


def test_an_image_is_shown_with_all_that_was_said_of_it(large: Path, browser: Browser) -> None:
    browser.open(large.as_uri(), READY)
    shown = "document.getElementById('example')"
    browser.wait(f"[...{shown}.querySelectorAll('img')].every((i) => i.complete && i.naturalWidth)")
    assert browser.value(f"{shown}.querySelectorAll('img').length") == 3
    row = "document.querySelector('#examples tr[data-row=\"7\"]')"
    browser.value(f"{row}.click()")
    text = browser.value(f"{shown}.textContent")
    assert "Image 7: class 7" in text and "says class 8 of the clean image" in text
    assert "strong (hypocritical)" in text and "difference, 5.0 times" in text
    browser.value("document.querySelector('#examples > div').focus()")
    browser.press("ArrowDown")
    assert "Image 8: class 8" in browser.value(f"{shown}.textContent")
    assert browser.complaints == []


CURVE = [(100, 90), (150, 110), (300, 90), (200, 190)]
"""Of 1,000 images, wrong and concealed; the last is dominated."""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A view of a study without rows."""
    root = tmp_path_factory.mktemp("study")
    config = replace(SweepConfig(), name="s")
    points = tuple(
        SeedResult(
            trial=i, lam=10.0 * i, settings={"lam": 10.0 * i}, seed=0, model_hash=str(i),
            validation=(counts := RiskCounts(total=1000, wrong=wrong, concealed=concealed)),
            test=counts, train_seconds=1.0, evaluate_seconds=1.0,
        )
        for i, (wrong, concealed) in enumerate(CURVE)
    )  # fmt: skip
    Front(study="s", objective="thrm", selection="validation", results=points).write(
        root / "s/front.json"
    )
    write_text(root / "s/config.json", to_json(config))
    return view_study(root, "s", trained=lambda _: "")


def test_the_slider_picks_the_trade_offs_in_order(study: Path, browser: Browser) -> None:
    browser.open(study.as_uri(), "window.Plotly && document.querySelector('.chart').data")
    picked = "document.getElementById('picked').textContent"
    ring = "(({x, y}) => [x[0], y[0]])(document.querySelector('.chart').data.at(-1))"
    assert "Trial 0: lambda 0; on the front" in browser.value(picked)
    browser.value("document.getElementById('pick').focus()")
    for trial in (1, 2):
        browser.press("ArrowRight")
        assert f"Trial {trial}: lambda {10 * trial}; on the front" in browser.value(picked)
        wrong, concealed = CURVE[trial]
        assert browser.value(ring) == pytest.approx([wrong / 1000, concealed / wrong])
    assert "30.0 % (27.2 to 32.9)" in browser.value(picked)
    browser.press("ArrowRight")  # the dominated one is no trade-off
    assert "Trial 2: lambda 20" in browser.value(picked)
    browser.value("[...document.querySelectorAll('#trials tr[data-row]')]"
                  ".find((row) => row.textContent.startsWith('3')).click()")  # fmt: skip
    assert "Trial 3: lambda 30; dominated" in browser.value(picked)
    assert browser.complaints == []


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_needs_no_sideways_scrolling(study: Path, tmp_path: Path, dark: bool) -> None:
    with Browser(tmp_path / "profile", width=500, dark=dark) as browser:
        browser.open(study.as_uri(), "window.Plotly && document.querySelector('.chart').data")
        assert browser.value("document.documentElement.scrollWidth") <= 500
        ratio = browser.value(CONTRAST)
        assert ratio >= 4.5
        assert browser.complaints == []


CONTRAST = """(() => {
  const light = (name) => {
    const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
      .map((p) => p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05;
  };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort(); return y / x; };
  return Math.min(...["--text", "--soft", "--bad", "--good", "--hidden"].flatMap((ink) =>
    ["--page", "--picked"].map((paper) => ratio(ink, paper))));
})()"""
"""Least contrast of a text to what is behind it, as WCAG counts."""
