"""Wu et al. 2021, figures 4 and 10 to 12: the linear model of section 5 and appendix C, drawn."""

from collections.abc import Iterable
from dataclasses import replace

from fftune.defenses.theory.linear import LinearAccuracies, LinearTask, accuracies
from fftune.papers.artifacts import Direction, Figure
from fftune.papers.declarations import Need, Setup
from fftune.papers.hedge_defense.linear_plot import Panel, draw
from fftune.papers.items import Item
from fftune.papers.results import Results

SECTION_5 = LinearTask()
TRUTH = replace(SECTION_5, zeta=0)
"""The ground-truth model: no bias."""
STEEP = replace(SECTION_5, k_t=SECTION_5.k_f, k_f=SECTION_5.k_t)
"""Its true class has the larger gradient."""
BAND = LinearTask(zeta=0, least=0, most=1)
"""The intrinsically non-robust examples, under the ground-truth model (C.1)."""
BIASED = LinearTask(zeta=1.5)
"""A bias larger than the attack (C.3)."""


def told(found: LinearAccuracies) -> str:
    """Accuracies in words."""
    return (
        f"natural {found.natural:.2%}, attacked {found.attacked:.2%}, "
        f"attacked and hedged {found.hedged:.2%}"
    )


CONSTANTS = (
    "The number line x; k_t = 1/8 and k_f = 1, eps = eps_d = 1, examples with 1 < |x| < 4; the "
    "dashed line is the true boundary, the solid one the learned boundary at zeta."
)
ARROWS = "Arrows: the next perturbation. Crosses and purple: wrong answers."


def _figure_4(_: Results) -> Iterable[Figure]:
    found = accuracies(SECTION_5)
    yield Figure(
        name="P2.F4",
        title="Attack and hedge on the linear model, linear scores as losses (zeta = eps / 2)",
        plot=draw(
            [
                Panel(title="(a) natural, true model", task=TRUTH, at="natural", to="attacked"),
                Panel(title="(b) attacked, true model", task=TRUTH, at="attacked"),
                Panel(
                    title="(c) natural, learned model",
                    task=SECTION_5,
                    at="natural",
                    to="attacked",
                ),
                Panel(title="(d) attacked, learned model", task=SECTION_5, at="attacked"),
                Panel(
                    title="(e) where the hedge pushes them",
                    task=SECTION_5,
                    at="attacked",
                    to="hedged",
                ),
                Panel(title="(f) attacked and hedged", task=SECTION_5, at="hedged"),
            ]
        ),
        notes=(CONSTANTS, ARROWS, "Panel (f) is not in the paper's figure."),
        directions=(
            Direction(
                claim="the true model is robust",
                found=accuracies(TRUTH).attacked == 1,
                seen=told(accuracies(TRUTH)),
            ),
            Direction(
                claim="the hedge restores what the attack takes from the learned model",
                found=found.attacked < found.natural == found.hedged,
                seen=told(found),
            ),
        ),
    )
    yield _cross_entropy()
    yield _steep()


def _cross_entropy() -> Figure:
    found = accuracies(SECTION_5, loss="ce")
    return Figure(
        name="P2.F4-ce",
        title="The same with cross-entropy as the loss of the hedge",
        plot=draw(
            [
                Panel(
                    title="(e) where the hedge pushes them, cross-entropy",
                    task=SECTION_5,
                    loss="ce",
                    at="attacked",
                    to="hedged",
                ),
                Panel(
                    title="(f) attacked and hedged, cross-entropy",
                    task=SECTION_5,
                    loss="ce",
                    at="hedged",
                ),
            ]
        ),
        notes=(
            f"{told(found)}: with two classes, cross-entropy summed over them only strengthens the "
            "current prediction. Section 5 takes the scores themselves for losses.",
            ARROWS,
        ),
    )


def _steep() -> Figure:
    found = accuracies(STEEP)
    return Figure(
        name="P2.F4-steep",
        title="The same where the true class has the larger gradient, linear scores",
        plot=draw(
            [
                Panel(
                    title="(e) where the hedge pushes them, k_t > k_f",
                    task=STEEP,
                    at="attacked",
                    to="hedged",
                ),
                Panel(title="(f) attacked and hedged, k_t > k_f", task=STEEP, at="hedged"),
            ]
        ),
        notes=("k_t = 1 and k_f = 1/8.", ARROWS),
        directions=(
            Direction(
                claim="where k_t > k_f, the hedge makes it worse",
                found=found.hedged < found.attacked,
                seen=told(found),
            ),
        ),
    )


def _figure_10(_: Results) -> Iterable[Figure]:
    found = accuracies(BAND)
    yield Figure(
        name="P2.F10",
        title="The hedge on intrinsically non-robust examples, |x| < eps, true model",
        plot=draw(
            [
                Panel(title="(a) natural", task=BAND, at="natural", to="attacked"),
                Panel(title="(b) attacked", task=BAND, at="attacked"),
                Panel(
                    title="(c) where the hedge pushes them", task=BAND, at="attacked", to="hedged"
                ),
                Panel(title="(d) attacked and hedged", task=BAND, at="hedged"),
            ]
        ),
        notes=(ARROWS,),
        directions=(
            Direction(
                claim="all are lost to the attack, and the hedge neither helps nor costs",
                found=found.attacked == found.hedged == 0,
                seen=told(found),
            ),
        ),
    )


def _figure_11(_: Results) -> Iterable[Figure]:
    found = accuracies(SECTION_5)
    yield Figure(
        name="P2.F11",
        title="The hedge on natural examples, linear scores",
        plot=draw(
            [
                Panel(
                    title="(a) natural, and where the hedge pushes them",
                    task=SECTION_5,
                    at="natural",
                    to="natural_hedged",
                ),
                Panel(title="(b) natural and hedged", task=SECTION_5, at="natural_hedged"),
            ]
        ),
        notes=(CONSTANTS, ARROWS),
        directions=(
            Direction(
                claim="natural accuracy stays as it was",
                found=found.natural_hedged == found.natural,
                seen=f"natural {found.natural:.2%}, hedged {found.natural_hedged:.2%}",
            ),
        ),
    )


def _figure_12(_: Results) -> Iterable[Figure]:
    far = replace(BIASED, eps_d=2 * BIASED.eps)
    found, further = accuracies(BIASED), accuracies(far)
    yield Figure(
        name="P2.F12",
        title="The hedge where the learned bias is larger than the attack (zeta = 1.5 eps)",
        plot=draw(
            [
                Panel(title="(a) natural", task=BIASED, at="natural", to="attacked"),
                Panel(title="(b) attacked", task=BIASED, at="attacked"),
                Panel(
                    title="(c) where the hedge pushes them",
                    task=BIASED,
                    at="attacked",
                    to="hedged",
                ),
                Panel(title="(d) attacked and hedged", task=BIASED, at="hedged"),
                Panel(title="(e) attacked and hedged, eps_d = 2 eps", task=far, at="hedged"),
            ]
        ),
        notes=(CONSTANTS, ARROWS, "Panel (e) is what appendix C.3 says of larger defenses."),
        directions=(
            Direction(
                claim="the hedge takes back what the attack cost, not what the bias costs",
                found=found.attacked < found.hedged == found.natural < 1,
                seen=told(found),
            ),
            Direction(
                claim="a hedge of twice the radius mends the bias too",
                found=further.hedged == 1,
                seen=told(further),
            ),
        ),
    )


def _nothing(_: Setup) -> Iterable[Need]:
    return ()


F4 = Item(key="P2.F4", title="The linear model drawn", needs=_nothing, build=_figure_4)
F10 = Item(
    key="P2.F10", title="The intrinsically non-robust band", needs=_nothing, build=_figure_10
)
F11 = Item(key="P2.F11", title="The hedge on natural examples", needs=_nothing, build=_figure_11)
F12 = Item(key="P2.F12", title="A bias larger than the attack", needs=_nothing, build=_figure_12)
