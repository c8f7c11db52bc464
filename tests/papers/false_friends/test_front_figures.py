"""Fronts drawn from rows that give the published accuracies."""

from dataclasses import replace

import pytest

from fftune.papers.declarations import Setup
from fftune.papers.false_friends import figures as p1_figures
from fftune.papers.false_friends.front_figures import FrontFigure
from fftune.papers.tables.published import published
from fftune.registry import PAPERS
from tests.papers.synthetic_rows import FULL, both_goals, of_one_class, synthetic

LAMBDAS = ("0", "1", "5", "10", "20", "40", "60", "80", "100")
POISON = FrontFigure(key="P1.F6", title="", tables=p1_figures.POISONING)
ADVERSARIAL = FrontFigure(
    key="P1.F7",
    title="",
    tables={"CIFAR-10": p1_figures.QUALITY["CIFAR-10"]},
    risk="adversarial",
)


def accuracies(key: str, method: str, lam: str) -> tuple[float, float, float]:
    cells = [published(key, method, lam, name) for name in ("D", "A", "F")]
    return tuple(cell.mean for cell in cells)


def as_published(key: str):
    def answer(exam):
        # At lambda = 0 both methods are one net.
        method = "TRADES" if exam.net.objective == "trades" else "THRM"
        return both_goals(*accuracies(key, method, f"{exam.net.lam:g}"))

    return answer


def built(figure: FrontFigure, key: str, setup: Setup = FULL):
    (found,) = figure.build(synthetic(as_published(key), setup))
    return found


def traces(found) -> dict:
    return {trace.name: trace for trace in found.plot.data}


def test_points_are_the_risks_of_the_rows() -> None:
    found = built(POISON, "P1.T13")
    for method in ("THRM", "TRADES"):
        trace = traces(found)[method]
        assert list(trace.text) == list(LAMBDAS)
        for lam, x, y in zip(LAMBDAS, trace.x, trace.y, strict=True):
            clean, _, touched = accuracies("P1.T13", method, lam)
            assert x == pytest.approx(100 - clean)
            assert y == pytest.approx(100 * (touched - clean) / (100 - clean))
        assert all(up > 0 for up in trace.error_x.array)
    assert list(traces(found)["THRM, published"].y) == [
        published("P1.T13", "THRM", lam, "R_hyp").mean for lam in LAMBDAS
    ]
    small, large, falls = found.directions
    assert all(one.claim.startswith("CIFAR-10, Poisoning: ") for one in found.directions)
    assert (small.found, large.found, falls.found) == (True, True, True)


def test_adversarial_risk_is_what_a_leaves() -> None:
    found = built(ADVERSARIAL, "P1.T10")
    for name in ("THRM", "THRM, published"):
        trace = traces(found)[name]
        rest = [100 - accuracies("P1.T10", "THRM", lam)[1] for lam in LAMBDAS]
        assert list(trace.y) == pytest.approx(rest)
    (gains,) = found.directions
    assert gains.found is True
    assert "lambda 0 and 100" in gains.seen


def test_a_net_that_answers_one_class_has_gained_nothing() -> None:
    """Its risk of .9 is below that of a natural net under attack, which is 1."""

    def answer(exam):
        return of_one_class(wrong=9000) if exam.net.lam == 100 else both_goals(80.0, 0.0, 90.0)

    (found,) = ADVERSARIAL.build(synthetic(answer))
    (gains,) = found.directions
    assert gains.found is None
    assert "lambda 0 and 80" in gains.seen and "without lambda of THRM 100" in gains.seen


def test_no_gain_is_no_gain() -> None:
    (found,) = ADVERSARIAL.build(synthetic(lambda _exam: both_goals(80.0, 0.0, 90.0)))
    assert found.directions[0].found is None


def test_other_scales_have_their_own_lambdas_and_name_what_is_missing() -> None:
    answer = as_published("P1.T10")
    setup = Setup(scale="small")
    results = synthetic(lambda exam: None if exam.net.lam == 20 else answer(exam), setup)
    (found,) = ADVERSARIAL.build(results)
    assert list(traces(found)["TRADES"].text) == ["0", "5", "80"]
    assert list(traces(found)["TRADES, published"].text) == list(LAMBDAS)
    assert sum(note.startswith("missing: ") for note in found.notes) == 2


@pytest.mark.parametrize(
    ("figure", "tables"),
    [
        ("F4", ("P1.T10", "P1.T11", "P1.T12")),
        ("F6", ("P1.T13",)),
        ("F7", ("P1.T10", "P1.T11", "P1.T12")),
    ],
)
def test_evaluations_are_those_of_the_tables(figure: str, tables: tuple[str, ...]) -> None:
    wanted = {need for key in tables for need in PAPERS[key].needs(FULL)}
    assert set(getattr(p1_figures, figure).needs(FULL)) == wanted


def test_panels_are_side_by_side() -> None:
    figure = replace(ADVERSARIAL, tables=p1_figures.QUALITY)
    plot = figure.plot({title: {} for title in figure.tables})
    assert [one.text for one in plot.layout.annotations] == [*p1_figures.QUALITY]
    assert len({trace.xaxis for trace in plot.data}) == 3
    assert sum(trace.showlegend for trace in plot.data) == 4
