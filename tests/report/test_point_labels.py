"""Points of a front are all named, no two alike, and no name lies over a bar or another name."""

from dataclasses import replace
from itertools import combinations

import pytest

from fftune.config import SweepConfig
from fftune.report.html_tables import meanings, one_by_one
from fftune.report.page import page
from fftune.report.plots import MANY, fronts
from fftune.report.point_labels import HEIGHT, LETTER, LINE, WIDTH
from fftune.report.results import StudyResult
from fftune.report.sentences import headlines
from fftune.report.tables import table
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.trial_results import SeedResult

POINTS = [(0.0, 80, 76), (20.0, 110, 99), (100.0, 140, 100), (100.0, 600, 590), (50.0, 115, 97)]
"""Lambda, wrong of 1,000, concealed: two of one lambda, of which the second trained nothing."""


def study(config: SweepConfig, seeds: int = 1, points=POINTS) -> StudyResult:
    results = tuple(
        SeedResult(
            trial=i, lam=lam, settings={"lam": lam, "optimizer.lr": 0.1 * i}, seed=seed,
            model_hash=f"{i}-{seed}", validation=counts, test=counts,
            train_seconds=1.0, evaluate_seconds=1.0,
        )
        for i, (lam, wrong, concealed) in enumerate(points)
        for seed in range(seeds)
        for counts in [RiskCounts(total=1000, wrong=wrong + seed, concealed=concealed)]
    )  # fmt: skip
    front = Front(study="s", objective="thrm", selection="validation", results=results)
    return StudyResult(replace(config, name="s", seeds=seeds), front)


def boxes(figure) -> list[tuple[float, float, float, float]]:
    """Pixels that the names take: left, bottom, right, top."""
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    found = []
    for note in figure.layout.annotations:
        x = (note.x - left) / (right - left) * WIDTH + note.xshift
        y = (note.y - low) / (high - low) * HEIGHT + note.yshift
        half = LETTER * len(note.text) / 2
        found.append((x - half, y - LINE / 2, x + half, y + LINE / 2))
    return found


def test_every_point_has_a_name_of_its_own(quick: SweepConfig) -> None:
    figure = fronts([study(quick)])
    names = [note.text for note in figure.layout.annotations]
    assert sorted(names) == ["0", "100 #2", "100 #3", "20", "50"]
    shown = {(x, y) for trace in figure.data if trace.customdata is not None
             for x, y in zip(trace.x, trace.y, strict=True)}  # fmt: skip
    assert {(note.x, note.y) for note in figure.layout.annotations} == shown


def test_no_name_lies_over_another_or_over_a_bar(quick: SweepConfig) -> None:
    figure = fronts([study(quick)])
    names = boxes(figure)
    for a, b in combinations(names, 2):
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
    (left, right), (low, high) = figure.layout.xaxis.range, figure.layout.yaxis.range
    for trace in figure.data[:2]:
        for x, y, up, down in zip(
            trace.x, trace.y, trace.error_y.array, trace.error_y.arrayminus, strict=True
        ):
            at = (x - left) / (right - left) * WIDTH
            ends = [(end - low) / (high - low) * HEIGHT for end in (y - down, y + up)]
            for box in names:
                assert not (box[0] < at < box[2] and box[1] < ends[1] and ends[0] < box[3])


def test_hundreds_of_points_have_names_where_there_is_room(quick: SweepConfig) -> None:
    """The front's are named, as far as no two lie over each other; the rest are bare points."""
    crowd = [(i / 100, 100 + i % 250, 60 + (7 * i) % 40) for i in range(300)]
    figure = fronts([study(quick, points=[*POINTS, *crowd])])
    names = boxes(figure)
    for a, b in combinations(names, 2):
        assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
    front, dominated = figure.data[:2]
    assert len(dominated.x) > MANY and dominated.error_y.array is None
    assert front.error_y.array is not None and 0 < len(names) <= len(front.x)
    assert {(note.x, note.y) for note in figure.layout.annotations} <= {
        *zip(front.x, front.y, strict=True)
    }


def test_axes_hold_all_points_with_their_intervals_and_can_begin_at_0(quick: SweepConfig) -> None:
    figure = fronts([study(quick)])
    views = {b.label: b.args[0] for b in figure.layout.updatemenus[0].buttons}
    assert views["from 0"]["xaxis.range"][0] == views["from 0"]["yaxis.range"][0] == 0
    assert list(figure.layout.xaxis.range) == views["all points"]["xaxis.range"]
    for trace in figure.data[:2]:
        assert (
            max(x + e for x, e in zip(trace.x, trace.error_x.array, strict=True))
            < (figure.layout.xaxis.range[1])
        )
    assert views["the fronts"]["xaxis.range"][1] < 0.2 < views["all points"]["xaxis.range"][1]


def test_the_mode_bar_stands_beside_the_plot_and_not_on_the_legend(quick: SweepConfig) -> None:
    layout = fronts([study(quick)]).layout
    assert layout.modebar.orientation == "v"
    assert layout.margin.r >= 50
    assert layout.legend.y > 1


def test_a_net_that_was_not_trained_is_no_headline(quick: SweepConfig) -> None:
    """Of one lambda the better on the images that selected is told, not the first."""
    points = [(0.0, 700, 650), (0.0, 80, 76), (100.0, 140, 100)]
    (said,) = headlines([study(quick, points=points)])
    assert "errs on 8.0% of 1,000" in said


def test_seeds_are_told_by_their_mean(quick: SweepConfig) -> None:
    found = study(quick, seeds=2)
    (said,) = headlines([found])
    assert said.startswith("The 2 models trained with lambda = 0 (standard training), a seed each")
    assert "err on 8.1% of 1,000" in said  # of 80 and 81
    assert "inflates the score by 7.6 points" in said


def test_tables_stand_under_their_study_and_words_are_told(quick: SweepConfig) -> None:
    rows = table([study(quick)])
    html = one_by_one(rows)
    assert html.startswith("<h3>s</h3>")
    assert "<th>study</th>" not in html
    told = meanings(rows)
    for word in ("crafted", "last-iterate violations", "n-", "inflation"):
        assert f"<dt>{word}</dt>" in told
    assert "<dt>trial</dt>" not in told
    assert "td { white-space: nowrap; }" in page([study(quick)])


@pytest.mark.parametrize("name", ["<script>", "a & b"])
def test_names_of_studies_are_escaped(quick: SweepConfig, name: str) -> None:
    rows = table([study(quick)]).assign(study=name)
    assert name not in one_by_one(rows)
