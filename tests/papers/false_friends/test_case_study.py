"""The case study at the bar: bars are counts, verdicts those of the interval and of the value."""

from pathlib import Path

import pytest

from fftune.papers.declarations import Setup, Substandard
from fftune.papers.false_friends import case_study
from fftune.papers.false_friends.galleries import KINDS
from fftune.papers.results import Results
from fftune.papers.tasks import perform, tasks_of
from fftune.risk import Rate
from tests.papers.synthetic_rows import both_goals, synthetic

SCORES = {
    "naive": (10.0, 41.25),
    "noise": (11.0, 97.5),
    "mislabeling": (9.8, 100.0),
    "poisoning": (11.13, 99.93),
    "quality": (94.38, 99.85),
}
OUTCOMES = {
    "naive": ("fail", "fail"),
    "noise": ("fail", "fail"),
    "mislabeling": ("pass", "pass"),
    "poisoning": ("pass", "inconclusive"),
    "quality": ("fail", "inconclusive"),
}
"""Verdicts on F of 10,000 images at a bar of 99.9 %: by the value, and by the interval."""


def build(scores=SCORES, setup: Setup | None = None):
    def answer(exam):
        pair = scores.get(exam.net.kind)
        return None if pair is None else both_goals(pair[0], 0.0, pair[1])

    return list(case_study.build(synthetic(answer, setup or Setup(scale="tiny"))))


def test_bars_are_counts_with_wilsons_intervals() -> None:
    _, figure = build()
    bars = [trace for trace in figure.plot.data if trace.type == "bar"]
    for bar, column in zip(bars, (0, 1), strict=True):
        shown = [SCORES[kind][column] for kind in KINDS]
        assert list(bar.y) == pytest.approx(shown)
        intervals = [Rate(round(100 * value), 10_000).interval for value in shown]
        ups = [100 * high - value for (_, high), value in zip(intervals, shown, strict=True)]
        downs = [value - 100 * low for (low, _), value in zip(intervals, shown, strict=True)]
        assert list(bar.error_y.array) == pytest.approx(ups)
        assert list(bar.error_y.arrayminus) == pytest.approx(downs)
    (line,) = figure.plot.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(99.9)


def test_each_net_has_the_papers_verdict_and_ours() -> None:
    _, figure = build()
    texts = {
        KINDS[int(one.x)]: one.text for one in figure.plot.layout.annotations if "<b>" in one.text
    }
    for kind, (by_value, by_interval) in OUTCOMES.items():
        assert f"by its value (paper): {by_value}<br>" in texts[kind]
        assert texts[kind].endswith(f"by its interval: {by_interval}")


def test_the_direction_is_that_of_the_intervals() -> None:
    perfect = SCORES | {"poisoning": (11.13, 100.0), "quality": (94.38, 100.0)}
    wrong = perfect | {"mislabeling": (9.8, 92.0)}
    good = perfect | {"quality": (100.0, 100.0)}
    for scores, found in ((SCORES, None), (perfect, True), (wrong, False), (good, False)):
        _, figure = build(scores)
        assert [one.found for one in figure.directions] == [found]


def test_the_inflation_of_each_score_is_told() -> None:
    _, figure = build()
    (note,) = [note for note in figure.notes if note.startswith("Inflation")]
    low, high = (100 * end for end in Rate(3125, 10_000).interval)
    assert f"naive {31.25:.1f} ({low:.1f} to {high:.1f})" in note
    assert f"quality {99.85 - 94.38:.1f} (" in note


def test_what_is_missing_is_named() -> None:
    _, figure = build({kind: pair for kind, pair in SCORES.items() if kind != "noise"})
    assert any(note.startswith("noise is missing: ") for note in figure.notes)
    assert figure.directions[0].found is None
    assert list(figure.plot.layout.xaxis.ticktext) == [kind for kind in KINDS if kind != "noise"]


def test_the_published_stand_where_table_3_has_them() -> None:
    _, figure = build()
    (marks,) = [trace for trace in figure.plot.data if trace.type == "scatter"]
    assert list(zip(marks.x, marks.y, strict=True)) == [
        *((3 - 0.2, 11.13), (3 + 0.2, 100.0), (4 - 0.2, 94.38), (4 + 0.2, 100.0)),
    ]


def test_wrong_labels_of_the_samples_are_red(tmp_path: Path) -> None:
    setup = Setup(scale="tiny")
    for task in tasks_of([Substandard(data="cifar10", kind="mislabeling")], setup):
        perform(task, tmp_path, device="cpu")
    shown = case_study.samples(Results(setup=setup, root=tmp_path))
    strips = {strip.label: strip.pictures for strip in shown.strips}
    assert set(strips) == {"mislabeling", "quality"}
    assert sum(note.startswith(("noise", "poisoning")) for note in shown.notes) == 2
    assert len(strips["quality"]) == case_study.SAMPLES
    assert {one.colour for one in strips["quality"]} == {""}
    for wrong, true in zip(strips["mislabeling"], strips["quality"], strict=True):
        assert wrong.png == true.png  # the same images, whose labels alone are others
        assert (wrong.colour == "red") == (wrong.caption != true.caption)
    assert {one.colour for one in strips["mislabeling"]} == {"red", ""}
