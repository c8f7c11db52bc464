"""Brackets of risks: found, certified, undecided; a bound that is crossed ends everything."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import fftune as ff
from fftune.bracket import Bracket, brackets
from fftune.certified.margins import Decision
from fftune.cli.edge import told
from fftune.config import DefenseConfig, SmoothingConfig
from fftune.errors import CrossedBoundsError
from fftune.evaluation import certificate
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.attack_table import details, rates
from fftune.report.evaluation_page import EvaluatedNet, net_page
from fftune.report.evaluation_summary import net_rates
from fftune.report.front_page import front_page
from fftune.report.nets_page import nets_page
from fftune.report.tables import table
from fftune.report.terminal import plain
from fftune.risk import Rate
from fftune.sweeping.trial_results import result_from_dict, result_to_dict
from fftune.viewer.rate_table import rate_table
from tests.certified.small_nets import images, nets
from tests.questions import ASKED
from tests.report.test_report import study
from tests.viewer.made_rows import made

Y = [0] * 10
CLEAN = [0] * 6 + [1] * 4
FOUND = {
    ("pgd-20", "adversarial"): [1, 0, 0, 0, 0, 0, 1, 1, 1, 1],
    ("pgd-20", "hypocritical"): [0, 1, 0, 0, 0, 0, 0, 1, 1, 1],  # and breaks the second image
}
BOUNDS = {
    ("certified", "adversarial"): [1, 1, 1, 0, 0, 0, 1, 1, 1, 1],
    ("certified", "hypocritical"): [0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
}
ADVERSARY = Bracket(split="test", defense="none", goal="adversarial", n=6, broken=2, open=3)
FRIEND = Bracket(split="test", defense="none", goal="hypocritical", n=4, broken=1, open=2)


def both(bounds=BOUNDS, found=FOUND, **columns) -> Outcomes:
    """Ten images, of which four are mistakes, under PGD and bounds."""
    attacked = made(Y, CLEAN, found, **columns)
    bound = made(Y, CLEAN, bounds, protocol=CERTIFIED, **columns)
    return Outcomes.of([attacked.table, bound.table]).answering(ASKED.plain)


def test_risks_between_their_bounds_by_hand() -> None:
    """An attack of either goal is a witness: the false friend breaks the second image."""
    assert brackets(both()) == [ADVERSARY, FRIEND]
    assert (ADVERSARY.found, ADVERSARY.most) == (Rate(2, 6), Rate(3, 6))
    assert ADVERSARY.undecided == Rate(1, 6)
    assert str(FRIEND) == (
        "hypocritical risk: at least 25.0 % (concealed by an attack), at most 50.0 % (certified), "
        "25.0 % undecided, of 4 mistakes"
    )


def test_without_bounds_or_attacks_there_is_no_bracket() -> None:
    assert brackets(made(Y, CLEAN, FOUND)) == []
    assert brackets(made(Y, CLEAN, BOUNDS, protocol=CERTIFIED)) == []
    larger = made(Y, CLEAN, FOUND, eps=0.2)  # which proves nothing of the smaller ball
    bound = made(Y, CLEAN, BOUNDS, protocol=CERTIFIED)
    assert brackets(Outcomes.of([larger.table, bound.table])) == []


def test_of_a_net_without_mistakes_the_risk_is_undefined() -> None:
    clean = [0] * 10
    rows = [
        made(Y, clean, {("pgd-20", "hypocritical"): clean}).table,
        made(Y, clean, {("certified", "hypocritical"): clean}, protocol=CERTIFIED).table,
    ]
    (found,) = brackets(Outcomes.of(rows))
    assert str(found) == "hypocritical risk: undefined, as there are no mistakes (n = 0)"


@pytest.mark.parametrize(
    ("goal", "at", "kept"), [("adversarial", 1, "right"), ("hypocritical", 6, "wrong")]
)
def test_a_certified_and_broken_image_is_a_defect(goal, at, kept) -> None:
    """Whatever goal the attack had: image 1 is broken by the false friend alone."""
    answers = BOUNDS["certified", goal]
    bounds = {**BOUNDS, ("certified", goal): [*answers[:at], CLEAN[at], *answers[at + 1 :]]}
    with pytest.raises(CrossedBoundsError, match=f"image {at} of .* stay {kept}, and pgd-20"):
        brackets(both(bounds))
    with pytest.raises(CrossedBoundsError):
        rates(both(bounds))
    code, line = told(CrossedBoundsError("a defect of fftune: image 1"), "again")
    assert (code, line) == (1, "a defect of fftune: image 1")


def test_a_draw_of_finitely_many_votes_may_lose_a_certified_one() -> None:
    bounds = {("certified", "adversarial"): [0] * 6 + [1] * 4}
    (found,) = brackets(both(bounds, defense="smoothing"))
    assert (found.crossed, found.broken, found.open) == (2, 0, 0)
    assert str(found).endswith("; 2 certified votes lost in a draw of finitely many")


def test_every_report_has_both_ends_and_what_is_undecided(quick) -> None:
    rows = both()
    net = EvaluatedNet(question=ASKED, outcomes=rows)
    wanted = {
        "certified_bound/adversarial_undecided": Rate(1, 6),
        "certified_bound/hypocritical_undecided": Rate(1, 4),
        "certified_bound/hypocritical_risk": Rate(2, 4),
    }
    assert wanted.items() <= rates(rows).items() and wanted.items() <= net_rates(rows).items()
    for page in (net_page(net), details(rows)):
        said = plain(page, 250)
        assert str(ADVERSARY) in said and str(FRIEND) in said
    several = plain(nets_page([net, replace(net, question=replace(ASKED, net="other"))], {}), 400)
    assert "concealed at most" in several and "concealed: undecided" in several
    viewed = {(row[0], row[1]): row[2:] for row in rate_table(rows)}
    assert viewed["none", "certified bound, hypocritical"][1][0] == 0.5
    assert viewed["none", "certified bound, hypocritical"][3][0] == 0.25

    whole = study(quick, "a")
    results = tuple(replace(one, brackets=(ADVERSARY, FRIEND)) for one in whole.front.results)
    whole = replace(whole, front=replace(whole.front, results=results))
    assert [result_from_dict(result_to_dict(one)) for one in results] == list(results)
    page = front_page([whole], [], [])
    assert f"trial 0, {FRIEND}" in plain(page.blocks, 400)
    figures = {figure.figure: figure.value for figure in page.figures if figure.split == "test"}
    assert figures["certified_bound/hypocritical_undecided"] == 0.25
    assert "hypocritical risk at most" in table([whole]).columns


SMOOTHED = DefenseConfig(
    names=("smoothing",),
    repeats=2,
    draws=1,
    search_steps=1,
    search_targets=1,
    choices=1,
    smoothing=SmoothingConfig(sigma=0.1, votes=10, attacker_votes=1),
)


def data(count: int) -> tuple[nn.Module, tuple[torch.Tensor, torch.Tensor]]:
    """A small net, and images half of which it gets wrong."""
    net = [*nets(2)][1]
    x = images(count)
    y = net(x).argmax(1)
    return net, (x, torch.where(torch.arange(count) % 2 == 0, y, (y + 1) % 3))


def test_attacks_stay_between_the_bounds_of_a_net() -> None:
    net, labelled = data(24)
    found = ff.evaluate(net, labelled, eps=0.03, battery=CERTIFIED, classes=3).outcomes
    adversary, friend = brackets(found)
    assert adversary.n == friend.n == 12
    assert 0 < adversary.most.value < 1 and 0 < friend.most.value < 1


def test_a_bound_that_is_crossed_ends_the_evaluation(monkeypatch) -> None:
    """A check at run time: here everything is said to be certified."""

    def certain(net, x, y, *, threat, kept, seconds):
        every = torch.ones(len(x), dtype=torch.bool)
        return Decision(kept=every, late=~every)

    monkeypatch.setattr(certificate, "decide", certain)
    net, labelled = data(24)
    with pytest.raises(CrossedBoundsError, match="^a defect of fftune: image"):
        ff.evaluate(net, labelled, eps=0.3, battery=CERTIFIED, classes=3)


@pytest.mark.parametrize("known", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_smoothed_net_is_certified_whatever_it_is(known) -> None:
    """Bounds of the vote stand beside those of the bare net, where that has any."""
    net, labelled = data(8)
    if not known:
        net = nn.Sequential(net, nn.Tanh()).eval()
    found = ff.evaluate(
        net,
        labelled,
        norm="l2",
        eps=0.05,
        battery=CERTIFIED,
        classes=3,
        defense=SMOOTHED,
        steps=2,
        certify_copies=200,
    ).outcomes
    bound = found.where(protocol=CERTIFIED, defense="smoothing").to_pandas()
    assert set(bound["goal"].astype(str)) == {"adversarial", "hypocritical"}
    assert 0 < bound["success"].mean() < 1
    bare = found.where(protocol=CERTIFIED, defense="none")
    assert bare.values("status") == ({"ok"} if known else {"no-bound"})
    goals = [one.goal for one in brackets(found) if one.defense == "smoothing"]
    assert goals == ["adversarial", "hypocritical"]
    assert "defense/smoothing/certified/hypocritical_undecided" in net_rates(found)
