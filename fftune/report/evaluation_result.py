"""Result of an evaluation command: a page of one net, or one table of several."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from fftune.comparison import Paired, common_mistakes
from fftune.errors import FftuneError
from fftune.outcomes import CERTIFIED, Outcomes
from fftune.report.bar_table import bar_line
from fftune.report.defended_rows import undefended
from fftune.report.evaluation_page import EvaluatedNet, net_details, net_page
from fftune.report.evaluation_summary import net_expectations, net_rates, net_summary
from fftune.report.evaluations import EvaluationRecord
from fftune.report.nets_page import SHOWN_PAIRS, nets_page, pair_lines
from fftune.report.result_page import Figure, ResultPage, measured

MOST_PAIRS = 36
"""Pairs of nets that are all compared: those of nine nets, a front of the papers."""


def evaluation_result(
    record: EvaluationRecord,
    nets: Sequence[EvaluatedNet],
    failed: Mapping[str, FftuneError],
    *,
    details: bool = False,
) -> ResultPage:
    """Lay out what an evaluation came to.

    Args:
        failed: errors of nets that could not be evaluated, by their names.
        details: add protocols, searches, convergence and every draw of defenses.
    """
    if len(nets) + len(failed) == 1:
        blocks = net_page(nets[0])
        blocks += record.bar_lines(nets[0].outcomes)
    else:
        blocks = nets_page(nets, failed) if nets else [f"{k}: {e}" for k, e in failed.items()]
        pairs = compared(nets)
        lines = pair_lines(pairs if details or len(pairs) <= SHOWN_PAIRS else {})
        blocks += ["", *lines] if lines else []
        if record.bar is not None:
            blocks += ["", *(bar_line(n.name, record.verdicts(n.outcomes)) for n in nets)]
    for net in nets if details else ():
        blocks += ["", f"details of {net.name}", *net_details(net)]
    return ResultPage(
        verb="evaluate",
        blocks=tuple(blocks),
        figures=tuple(figure for net in nets for figure in _figures(net)),
        more={
            "evaluations": [net_summary(net) for net in nets],
            "errors": {name: str(error) for name, error in failed.items()},
        },
    )


def compared(nets: Sequence[EvaluatedNet]) -> dict[tuple[str, str], Paired]:
    """Compare every two nets on the mistakes that both make; of many, each with the first.

    Nets that lack blocks or a false friend are left out.
    """
    friends = {net.name: rows for net in nets if len(rows := friends_of(net.outcomes))}
    pairs = [
        (one, two)
        for one, two in combinations(friends, 2)
        if friends[one].values("attack") == friends[two].values("attack")  # no lost blocks
    ]
    if len(pairs) > MOST_PAIRS:
        pairs = [pair for pair in pairs if pair[0] == pairs[0][0]]
    return {(one, two): common_mistakes(friends[one], friends[two]) for one, two in pairs}


def friends_of(outcomes: Outcomes) -> Outcomes:
    """Select the bare net's rows of false friends, those apart that tried some examples only."""
    rows = undefended(outcomes).where(goal="hypocritical")
    everyone = len(outcomes.values("id"))
    attacks = rows.values("attack") - {CERTIFIED}
    each = (rows.where(attack=attack) for attack in attacks)
    return Outcomes.of(one.table for one in each if len(one) == everyone)


def _figures(net: EvaluatedNet) -> Iterator[Figure]:
    """Every rate of a net, and every mean over draws, with what it is of."""
    question = net.question
    found = net_rates(net.outcomes) | net_expectations(net.outcomes)
    for name, rate in found.items():
        yield Figure(
            net=net.name,
            weights=question.model_hash,
            lam=net.lam,
            seed=question.seed,
            data=question.data,
            split=question.split,
            norm=question.norm,
            eps=question.eps,
            battery=question.battery,
            figure=name,
            **measured(rate),
        )
