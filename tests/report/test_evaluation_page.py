"""Pages of evaluated nets by hand: ten images, of which a net gets two wrong when clean."""

import csv
import io
import json
from dataclasses import replace
from math import isclose

import pytest

import fftune
from fftune.config import DefenseConfig, ThreatModel
from fftune.outcomes import Outcomes
from fftune.report.defense_answer import answers
from fftune.report.evaluation_page import EvaluatedNet, net_page
from fftune.report.evaluation_result import evaluation_result
from fftune.report.evaluations import EvaluationRecord
from fftune.report.nets_page import nets_page
from fftune.report.terminal import plain
from fftune.risk import Rate
from tests.questions import ASKED
from tests.report.drawn_rows import by_hand

CLEAN = [0] * 8 + [1, 2]
QUESTION = replace(
    ASKED,
    net="mine",
    model_hash="1a2b3c4d5e",
    code="",
    data="digits",
    examples=10,
    available=1_000,
    classes=("0", "1", "2"),
    battery="risks",
    tier="",
    engine=3,
)


def attacked(cw: list[int], *, friend: list[int], name: str = "mine") -> EvaluatedNet:
    """A net under PGD, which fools three, C&W, and a false friend."""
    found = by_hand(
        {"none": [CLEAN]},
        {
            ("pgd-20", "adversarial"): {"none": [[1, 1, 1, 0, 0, 0, 0, 0, 1, 2]]},
            ("cw", "adversarial"): {"none": [cw]},
            ("pgd-20", "hypocritical"): {"none": [friend]},
        },
    )
    return EvaluatedNet(question=replace(QUESTION, net=name), outcomes=found, lam=6.0)


NET = attacked([1, 1, 1, 1, 0, 0, 0, 0, 1, 2], friend=[0] * 9 + [2])
WEAK = attacked([1] * 8 + [1, 2], friend=[0] * 10, name="weak")

PAGE = """\
net       mine, weights 1a2b3c4d, lambda 6
images    digits, test: n = 10 of 1,000
classes   3 in order: 0, 1, 2
ball      linf, eps 0.0313725 (8/255)
attacks   battery risks: pgd-20, cw; seed 0
run       cpu, fp32, 1 thread, blocks of 256; fftune VERSION, engine 3

adversary                  accuracy  fooled, of 8 right when clean
------------------------------------------------------------------
clean images  80.0 % (49.0 to 94.3)
cw            40.0 % (16.8 to 68.7)         50.0 % (21.5 to 78.5)*
pgd-20        50.0 % (23.7 to 76.3)          37.5 % (13.7 to 69.4)
worst case    40.0 % (16.8 to 68.7)          50.0 % (21.5 to 78.5)
* the strongest attack

false friend               accuracy  concealed, of 2 mistakes     score inflated by
-----------------------------------------------------------------------------------
clean images  80.0 % (49.0 to 94.3)
pgd-20        90.0 % (59.6 to 98.2)      50.0 % (9.5 to 90.5)  10.0 % (1.8 to 40.4)
"""


def test_a_page_by_hand_in_a_pipe() -> None:
    said = plain(net_page(NET))
    assert said.startswith(PAGE.replace("VERSION", fftune.__version__)), said
    assert said.endswith(
        "mine is right on 80.0 % (49.0 to 94.3) of 10 clean images; an adversary within linf, eps "
        "0.0313725\n(8/255) leaves at most 40.0 % (16.8 to 68.7) right; a false friend makes at "
        "least 50.0 % (9.5 to\n90.5) of its 2 mistakes look right, so that it scores 10.0 points "
        "more."
    )


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_page_fits_its_terminal_and_tells_the_same(width: int) -> None:
    for page in (net_page(NET), nets_page([NET, WEAK], {})):
        said = plain(page, width)
        assert max(map(len, said.splitlines())) <= width
        for found in (Rate(4, 10), Rate(8, 10)):
            low, high = found.interval
            told = f"{100 * found.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
            assert told in " ".join(said.split())


def test_several_nets_have_one_table_with_lambda_and_the_worst_of_each_column() -> None:
    said = [" ".join(line.split()) for line in plain(nets_page([NET, WEAK], {}), 140).splitlines()]
    assert "nets 2, with their weights: mine 1a2b3c4d, weak 1a2b3c4d" in said
    assert "net lambda clean images cw pgd-20 worst case" in said
    weak = next(line for line in said if line.startswith("weak 6 80.0 %"))
    assert "0.0 % (0.0 to 27.8)*" in weak and weak.count("*") == 4  # equal ones are marked, too
    mine = next(line for line in said if line.startswith("mine 6 80.0 %"))
    assert "40.0 % (16.8 to 68.7)*" not in mine
    assert "net lambda mistakes pgd-20" in said
    assert "weak 6 2 of 10* 100.0 % (34.2 to 100.0)*" in said
    assert any(line.startswith("Adversaries leave most right of mine, 40.0 %") for line in said)


def test_json_and_csv_hold_the_same_numbers(tmp_path) -> None:
    threat = ThreatModel(eps=8 / 255)
    record = EvaluationRecord(root=tmp_path, threat=threat, defense=DefenseConfig(), data="digits")
    page = evaluation_result(record, [NET, WEAK], {})
    streams = {form: io.StringIO() for form in ("json", "csv", "markdown", "text")}
    for form, stream in streams.items():
        page.write(form, stream)
    told = json.loads(streams["json"].getvalue())
    rows = list(csv.DictReader(io.StringIO(streams["csv"].getvalue())))
    assert told["schema_version"] == 1 and told["verb"] == "evaluate"
    assert len(rows) == len(told["figures"]) > 20
    for figure, row in zip(told["figures"], rows, strict=True):
        assert list(figure) == list(row)
        for name, value in figure.items():
            assert row[name] == ("" if value is None else str(value))
    by_name = {(f["net"], f["figure"]): f for f in told["figures"]}
    worst = by_name["mine", "worst_case/accuracy"]
    assert (worst["value"], worst["count"], worst["n"], worst["lam"]) == (0.4, 4, 10, 6.0)
    assert isclose(worst["low"], Rate(4, 10).interval[0]) and worst["eps"] == 8 / 255
    assert [one["name"] for one in told["evaluations"]] == [NET.question.name, WEAK.question.name]
    assert "**0.0 % (0.0 to 27.8)**" in streams["markdown"].getvalue()


DRAWS = {"none": [[0] * 8], "hedge": [[0] * 8] * 4}


@pytest.mark.parametrize(
    ("aware", "helps"),
    [([0] * 8, True), ([1, 0, 1, 0, 1, 1, 1, 1], None), ([1] * 8, False)],
)
def test_a_defense_helps_or_hurts_by_the_paired_interval(aware: list[int], helps) -> None:
    """The bare net keeps 0 to 2 of 8 images; behind the hedge all, some, or none are kept."""
    left = [0, 0, 0, 0, 0, 0, 1, 1] if helps is False else [1, 1, 1, 1, 1, 1, 1, 0]
    still = {"none": [left], "hedge": [aware] * 2}
    found = by_hand(
        DRAWS, {("pgd-20", "adversarial"): still, ("aware-hedge", "adversarial"): still}
    )
    bare, hedge = answers(found)
    assert (bare.defense, bare.gain, hedge.defense) == ("none", None, "hedge")
    assert hedge.helps is helps
    verb = {True: "hedge helps", False: "hedge hurts", None: "hedge is of no proven help"}[helps]
    assert str(hedge).startswith(verb)
    assert hedge.aware == Rate(aware.count(0), 8)


def test_one_table_answers_for_every_defense() -> None:
    attacks = {
        ("pgd-20", "adversarial"): {"none": [[1] * 8], "hedge": [[0] * 8] * 2},
        ("aware-hedge", "adversarial"): {"none": [[0] * 8], "hedge": [[1, 1] + [0] * 6] * 2},
        ("known-hedge", "adversarial"): {"none": [[0] * 8], "hedge": [[1] * 8] * 2},
    }
    found: Outcomes = by_hand(DRAWS, attacks)
    said = plain(net_page(EvaluatedNet(question=QUESTION, outcomes=found)), 140)
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "behind known to attackers gain, points not known clean images concealed" in lines
    assert any(one.startswith("no defense 0.0 % (0.0 to 32.4)*") for one in lines)
    # Who has the draw itself counts for nothing; blind attackers leave all, those who know six.
    hedge = next(one for one in lines if one.startswith("hedge 75.0 % (40.9 to 92.9) +75.0 ("))
    assert "100.0 % (67.6 to 100.0) 100.0 % (67.6 to 100.0) -" in hedge
