"""Page of a gate, its JSON, and its tests for a CI."""

from collections.abc import Iterator
from math import isnan
from typing import Any

from fftune.auditing.formats.junit import Case
from fftune.auditing.gate import ALPHA, Gate, GateFinding
from fftune.report.result_page import Figure, ResultPage, points
from fftune.report.terminal import Block, Cell, Worst, grid
from fftune.risk import Rate, plain_rate

RULE = (
    "Gains are differences of two shares of the same examples in points, positive where AFTER is "
    "better. A measure passes if all of the 95 % interval of its gain is above minus its margin. "
    "It fails if not, and the interval that allows for the number of measures is below 0. The gate "
    "passes if every measure does, and fails if one does."
)
AMONG = {"adversarial_risk": "right answers", "hypocritical_risk": "mistakes"}
"""Examples of a net that a measure is a share of; of others it is all."""


def gate_page(gate: Gate) -> ResultPage:
    """Lay out what a gate came to."""
    return ResultPage(
        verb="gate",
        blocks=tuple(_blocks(gate)),
        figures=tuple(_figure(gate, one) for one in gate.findings),
        more={"gate": _plain(gate)},
    )


def cases(gate: Gate) -> list[Case]:
    """Measures of a gate as tests."""
    return [
        Case(
            name=f"{one.measure} not worse by more than {one.margin:g}",
            outcome=one.outcome,
            sentence=one.sentence,
        )
        for one in gate.findings
    ]


def _blocks(gate: Gate) -> Iterator[Block]:
    yield f"{gate.outcome.upper()}: {gate.after} after {gate.before}"
    yield f"{gate.about}, n = {gate.n:,} images, the same for both"
    yield ""
    head = ("measure", "before", "after", "gain in points", "margin", "verdict")
    yield grid([head, *map(_line, gate.findings)], worst="fails the gate")
    yield ""
    common = [line for one in gate.findings if (line := _common_line(one))]
    if common:
        yield "beside it, on examples that count for both nets:"
        yield from common
        yield ""
    yield RULE


def _line(one: GateFinding) -> tuple[Cell, ...]:
    pair = one.pair
    gain = "undefined" if isnan(pair.gain) else points(pair.gain, *pair.interval(ALPHA))
    margin = f"{100 * one.margin:g}"
    verdict = one.outcome if one.outcome != "fail" else Worst(one.outcome)
    return (one.measure, _share(pair.before.rate), _share(pair.after.rate), gain, margin, verdict)


def _share(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} % of {rate.n:,}" if rate.n else "undefined"


def _common_line(one: GateFinding) -> str:
    paired = one.pair.common
    if paired is None:
        return ""
    return f"  {one.measure} on {AMONG[one.measure]} of both, gain: {paired}"


def _figure(gate: Gate, one: GateFinding) -> Figure:
    low, high = one.pair.interval(ALPHA)
    known = not isnan(one.pair.gain)
    return Figure(
        net=gate.after,
        figure=f"gain/{one.measure}",
        value=one.pair.gain if known else None,
        low=low if known else None,
        high=high if known else None,
        n=gate.n,
    )


def _plain(gate: Gate) -> dict[str, Any]:
    return {
        "outcome": gate.outcome,
        "before": gate.before,
        "after": gate.after,
        "about": gate.about,
        "n": gate.n,
        "measures": [_plain_finding(one) for one in gate.findings],
    }


def _plain_finding(one: GateFinding) -> dict[str, Any]:
    pair, common = one.pair, one.pair.common
    ends = {"gain": pair.gain, **dict(zip(("low", "high"), pair.interval(ALPHA), strict=True))}
    ends["high_for_fail"] = pair.interval(ALPHA / one.measures)[1]
    beside = None
    if common is not None and common.n:
        low, high = common.interval
        beside = {"n": common.n, "gain": common.gain, "low": low, "high": high}
    return {
        "measure": one.measure,
        "outcome": one.outcome,
        "margin": one.margin,
        "before": plain_rate(pair.before.rate),
        "after": plain_rate(pair.after.rate),
        **{name: None if isnan(end) else end for name, end in ends.items()},
        "common": beside,
        "sentence": one.sentence,
    }
