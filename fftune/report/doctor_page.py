"""Page of an examination by `fftune doctor`."""

from fftune import __version__
from fftune.config import told_radius
from fftune.doctor.check import LEVEL, MARGIN, Check
from fftune.doctor.examination import Examination
from fftune.report.result_page import Figure, ResultPage
from fftune.report.terminal import Block, Cell, Grid, Worst, grid

UNSOUGHT = "obfuscated gradients: not looked for, as the net has none at all"


def doctor_page(found: Examination) -> ResultPage:
    """Lay out an examination."""
    ball = f"{found.threat.norm}, eps {told_radius(found.threat.eps)}"
    blocks: list[Block] = [
        f"net       {found.net}, weights {found.weights[:8]}",
        f"images    {found.data}, {found.split}: n = {found.n:,}",
        f"ball      {ball}",
        f"run       {found.device}, seed {found.seed}; fftune {__version__}",
        "",
        _grid("the evaluation", found.evaluation),
        "",
    ]
    if found.gradients is None:
        blocks += [UNSOUGHT]
    else:
        blocks += [_grid(f"obfuscated gradients, defense {found.defense}", found.gradients)]
        blocks += [
            f"An attack counts as better from {MARGIN:.0%} of the examples and p < {LEVEL} "
            "(McNemar) on. To pass proves nothing.",
        ]
    every = (*found.evaluation, *(found.gradients or ()))
    return ResultPage(
        verb="doctor",
        blocks=(*blocks, "", _sentence(found, every)),
        figures=tuple(_figure(found, check) for check in every),
        more={
            "checks": [{"name": c.name, "passed": c.passed, "evidence": c.evidence} for c in every],
            "passed": found.passed,
        },
    )


def _grid(title: str, checks: tuple[Check, ...]) -> Grid:
    rows: list[list[Cell]] = [["", "check", "evidence"]]
    rows += [["pass" if c.passed else Worst("FAIL"), c.name, c.evidence] for c in checks]
    return grid(rows, title, wraps=True)


def _sentence(found: Examination, every: tuple[Check, ...]) -> str:
    failed = [check.name for check in every if not check.passed]
    if failed:
        some = f"{len(failed)} of {len(every)} checks fail: {'; '.join(failed)}"
        return f"{some}. Attacks on {found.net} may look weaker than they are."
    return f"All {len(every)} checks pass: nothing was found against the evaluation of {found.net}."


def _figure(found: Examination, check: Check) -> Figure:
    return Figure(
        net=found.net,
        weights=found.weights,
        seed=found.seed,
        data=found.data,
        split=found.split,
        norm=found.threat.norm,
        eps=found.threat.eps,
        figure=f"passed/{check.name}",
        value=float(check.passed),
        n=found.n,
    )
