"""Numbers of an evaluated net: rates, means over draws, shares of searches, all as JSON."""

from functools import reduce
from operator import or_
from typing import Any

from fftune.bracket import BARE, brackets
from fftune.expectation import Expectation, plain_expectation
from fftune.outcomes import Outcomes
from fftune.report.attack_seeds import seed_plain
from fftune.report.attack_table import rates, shares
from fftune.report.convergence import convergence_plain
from fftune.report.defended_rows import defense_frame, undefended
from fftune.report.defense_rates import defense_expectations, defense_rates
from fftune.report.evaluation_page import EvaluatedNet
from fftune.report.optimality import SearchShare, defended_shares
from fftune.report.stored_table import stored_rates
from fftune.risk import Rate, plain_rate


def net_rates(outcomes: Outcomes) -> dict[str, Rate]:
    """Rates of the bare net, of what was stored as files, and under each defense."""
    found = rates(undefended(outcomes)) | stored_rates(outcomes)
    if not _is_defended(outcomes):
        return found
    behind = [one.rates() for one in brackets(outcomes) if one.defense != BARE]
    return reduce(or_, behind, found | defense_rates(outcomes))


def net_expectations(outcomes: Outcomes) -> dict[str, Expectation]:
    """Means over draws, under each defense."""
    return defense_expectations(outcomes) if _is_defended(outcomes) else {}


def net_shares(net: EvaluatedNet) -> dict[str, list[SearchShare]]:
    """Share of each search in what all found: of the bare net, and under each defense."""
    found = {"none": shares(net.bare, net.seconds)}
    if not net.is_defended:
        return found
    return found | defended_shares(defense_frame(net.outcomes), net.seconds)


def net_summary(net: EvaluatedNet) -> dict[str, Any]:
    """Question, rates and means over draws with intervals, searches and seeds, as plain JSON."""
    each = {name: [one.plain for one in found] for name, found in net_shares(net).items()}
    expected = net_expectations(net.outcomes)
    return {
        "schema_version": 1,
        "name": net.question.name,
        "question": net.question.plain,
        "remarks": net.question.remarks,
        "rates": {name: plain_rate(rate) for name, rate in net_rates(net.outcomes).items()},
        "searches": each.pop("none"),
        "defended_searches": each,
        "expectations": {name: plain_expectation(one) for name, one in expected.items()},
        "convergence": convergence_plain(net.bare),
        "seeds": seed_plain((net.outcomes, *net.seeds)),
    }


def _is_defended(outcomes: Outcomes) -> bool:
    return bool(outcomes.defenses)
