"""Figures 1 to 3 and 5 to 9 of Wu et al. 2021: one hedge on TRADES on CIFAR-10."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fftune.hedge_study.plots import slopes, surface
from fftune.hedge_study.showcase_schema import Gaps, Surface
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Artifact, Figure, Gallery, Picture, Strip
from fftune.papers.declarations import Analysis, Exam, Net, Setup
from fftune.papers.hedge_defense import effect_claims
from fftune.papers.hedge_defense.analyses import STEPS, USUAL
from fftune.papers.hedge_defense.flip_counts import flips_in
from fftune.papers.hedge_defense.nets import TRADES
from fftune.papers.hedge_defense.plots import (
    ablation_panels,
    flip_bars,
    landscape,
    nothing,
    second_attack_curves,
)
from fftune.papers.hedge_defense.second_attack_table import second_attack_table
from fftune.papers.hedge_defense.tables import nine
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables.attack_tables import COLUMNS
from fftune.papers.zoo import ZooNet, is_here, zoo_of

FEW_ATTACKS = ("pgd-20", "cw", "fab-t", "square")
"""Attacks of figure 2a, one of each kind; figure 8 has them all."""
KINDS = {"FtoT": "corrected by the hedge (FtoT)", "TtoF": "broken by the hedge (TtoF)"}
OUR_NET = "The net is a TRADES of ours; the paper's is the published WideResNet-34-10."
DRAWS = "Bars are means over the draws of each defense, lines go from the least to the greatest."

Draw = Callable[[str, Any, Setup], Iterable[Artifact]]
"""Function that draws what was found, under a name for files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a figure: one need, and how it is drawn."""

    name: str
    """Name for files, as in `P2.F2a`."""
    need: Callable[[Setup], Analysis | Exam]
    draw: Draw


def item(key: str, title: str, *parts: Part) -> Item:
    """A figure of several parts; of one that failed the reason remains."""

    def needs(setup: Setup) -> list[Analysis | Exam]:
        return list(dict.fromkeys(part.need(setup) for part in parts))

    def build(results: Results) -> Iterator[Artifact]:
        for part in parts:
            need = part.need(results.setup)
            asked = results.rows if isinstance(need, Exam) else results.analysis
            found = asked(need)  # type: ignore[arg-type]
            if found is None:
                missing = f"missing: {need}: {results.why_missing(need)}"
                plot = nothing("missing")
                yield Figure(name=part.name, title=title, plot=plot, notes=(missing,))
            else:
                yield from part.draw(part.name, found, results.setup)

    return Item(key=key, title=title, needs=needs, build=build)


def net_of(setup: Setup) -> Net | ZooNet:
    """The paper's TRADES where a zoo has it with its weights, else one of ours."""
    theirs = (net for net in zoo_of(setup.scale, setup.zoo) if net.name == TRADES.name)
    return next((net for net in theirs if is_here(net)), TRADES.net)


def under_nine(setup: Setup) -> Exam:
    """The nine attacks on it behind both defenses, as in table 1."""
    return nine(replace(TRADES, net=net_of(setup)))


def effects(setup: Setup) -> Analysis:
    """Effect of the hedge on single images, within the limits that are set."""
    return _analysis(
        setup,
        "fftune.papers.hedge_defense.analyses:effects",
        _limits(setup, "analysed", "pictures", "grid"),
    )


def attacked_twice(setup: Setup) -> Analysis:
    """Attacks on the predictions of adversarial examples, within the limit that is set."""
    return _analysis(
        setup,
        "fftune.papers.hedge_defense.analyses:attacked_twice",
        _limits(setup, "attacked_twice"),
    )


def ablation(search: str) -> Callable[[Setup], Analysis]:
    """Steps and radii of the hedge, against an attack."""
    return lambda setup: replace(
        _analysis(setup, "fftune.papers.hedge_defense.analyses:ablation", {"search": search}),
        size="many",
    )


def _analysis(setup: Setup, run: str, settings: Mapping[str, Any]) -> Analysis:
    return Analysis(
        run=run,
        nets=(net_of(setup),),
        size="all",
        settings=tuple(sorted(settings.items())),
    )


def _limits(setup: Setup, *names: str) -> Mapping[str, int]:
    return {name: setup.limits[name] for name in names if name in setup.limits}


def _notes(setup: Setup, *more: str) -> tuple[str, ...]:
    return (*((OUR_NET,) if isinstance(net_of(setup), Net) else ()), *filter(None, more))


def _no_example(kind: str, found: Mapping[str, Any]) -> str:
    return f"no image of {found['n']:,} is {KINDS[kind]}: there is nothing to show"


def _surfaces(name: str, found: Mapping[str, Any], setup: Setup) -> Iterator[Figure]:
    """The left and the right half of figure 1, at one corrected image."""
    title = "Loss of the true class around a natural image, what an attack does, and the hedge"
    if found["plane"] is None:
        note = _no_example("FtoT", found)
        plot = nothing("no such image")
        yield Figure(name=name, title=title, plot=plot, notes=_notes(setup, note))
        return
    plane, around = found["plane"], Surface(**found["surface"])
    axes = (
        "Axes are the attack's whole perturbation and the hedge's, which need not be at right "
        "angles; dash-dotted is the decision boundary of the true class."
    )
    image = f"Image {plane['id']}, class {plane['true']}; {found['hedge']}."
    yield Figure(
        name=f"{name}-left",
        title=title,
        plot=landscape(plane),
        notes=_notes(setup, image, axes),
    )
    yield Figure(
        name=f"{name}-right",
        title="Loss of the false and of the true class around the attacked image",
        plot=surface(around),
        notes=_notes(setup, image),
        directions=(effect_claims.steeper_here(found["surface"]),),
    )


def _bars(title: str, attacks: Iterable[str]) -> Draw:
    def draw(name: str, rows: Outcomes, setup: Setup) -> Iterator[Figure]:
        counts = flips_in(rows)
        there = {attack for attack, _ in counts}
        shown = [attack for attack in attacks if attack in there]
        yield Figure(
            name=name,
            title=title,
            plot=flip_bars(counts, shown),
            notes=_notes(setup, DRAWS),
            directions=tuple(effect_claims.more_corrected(counts, shown)),
        )

    return draw


def _slopes(name: str, found: Mapping[str, Any], setup: Setup) -> Iterator[Figure]:
    """Figure 2b; the paper does not say by which estimate, so that four are shown."""
    estimators = "The paper does not say how it estimates the constant, nor of which score."
    yield Figure(
        name=name,
        title="Local Lipschitz constant of the false class less that of the true one",
        plot=slopes([Gaps(**one) for one in found["gaps"]]),
        notes=_notes(setup, estimators),
        directions=tuple(effect_claims.steeper_false_class(found["gaps"])),
    )


def _pictures(*kinds: str) -> Draw:
    def draw(name: str, found: Mapping[str, Any], setup: Setup) -> Iterator[Gallery]:
        examples = [(kind, one) for kind in kinds for one in found["examples"][kind]]
        empty = [_no_example(kind, found) for kind in kinds if not found["examples"][kind]]
        legend = "Under each image are the bare net's prediction and SSIM with the natural image."
        yield Gallery(
            name=name,
            title=f"Images whose prediction was {' or '.join(KINDS[kind] for kind in kinds)}",
            strips=tuple(_strip(kind, one) for kind, one in examples),
            columns=tuple(one["role"] for one in examples[0][1]["pictures"]) if examples else (),
            notes=_notes(setup, legend, found["hedge"], *empty),
            directions=(effect_claims.alike(found["similarities"]),),
        )

    return draw


def _strip(kind: str, one: Mapping[str, Any]) -> Strip:
    return Strip(
        label=f"{kind} #{one['id']}: {one['truth']}",
        pictures=tuple(
            Picture(
                png=picture["png"],
                caption=f"{picture['label']} ({picture['ssim']:.3f})",
                colour="" if picture["right"] else "red",
            )
            for picture in one["pictures"]
        ),
    )


def _ablation(attack: str) -> Draw:
    def draw(name: str, found: Mapping[str, Any], setup: Setup) -> Iterator[Figure]:
        radius = f"{USUAL}/255 stands for a radius of {found['radius']:.4g} on these images."
        step = f"Every hedge takes steps of {USUAL // 2}/255, whatever its radius; K = 0 is noise."
        yield Figure(
            name=name,
            title=f"Steps and radii of the hedge, against {attack}",
            plot=ablation_panels(found["points"], STEPS[-1], USUAL),
            notes=_notes(setup, radius if setup.scale == "tiny" else "", step),
            directions=tuple(effect_claims.of_ablation(found["points"])),
        )

    return draw


def _second_attack(name: str, found: Mapping[str, Any], setup: Setup) -> Iterator[Artifact]:
    last = found["counts"][-1]
    yield Figure(
        name=name,
        title="Attacking the predictions of adversarial examples",
        plot=second_attack_curves(found["lengths"], found["counts"]),
        notes=_notes(setup, "0 steps are the attack's random start."),
        directions=tuple(effect_claims.of_second_attack(found["counts"])),
    )
    other = "another net" if isinstance(net_of(setup), Net) else ""
    yield second_attack_table(last, found["n"], setup, comparable=other)


F1 = item(
    "P2.F1",
    "Loss surfaces around one image",
    Part(name="P2.F1", need=effects, draw=_surfaces),
)
F2 = item(
    "P2.F2",
    "Predictions that the hedge changes, local Lipschitz constants, and images",
    Part(
        name="P2.F2a",
        need=under_nine,
        draw=_bars("Predictions that a defense changes", FEW_ATTACKS),
    ),
    Part(name="P2.F2b", need=effects, draw=_slopes),
    Part(name="P2.F2c", need=effects, draw=_pictures("FtoT", "TtoF")),
)
F3 = item(
    "P2.F3",
    "Steps and radii of the hedge, against C&W",
    Part(
        name="P2.F3",
        need=ablation("cw"),
        draw=_ablation("C&W"),
    ),
)
F5 = item(
    "P2.F5",
    "Images whose prediction the hedge corrects",
    Part(name="P2.F5", need=effects, draw=_pictures("FtoT")),
)
F6 = item(
    "P2.F6",
    "Images whose prediction the hedge breaks",
    Part(name="P2.F6", need=effects, draw=_pictures("TtoF")),
)
F7 = item(
    "P2.F7",
    "Steps and radii of the hedge, against PGD",
    Part(
        name="P2.F7",
        need=ablation("pgd"),
        draw=_ablation("PGD"),
    ),
)
F8 = item(
    "P2.F8",
    "Predictions that a defense changes, after all nine attacks",
    Part(
        name="P2.F8",
        need=under_nine,
        draw=_bars("Predictions that a defense changes, after all attacks", COLUMNS),
    ),
)
F9 = item(
    "P2.F9",
    "Attacking the predictions of adversarial examples, over attack steps",
    Part(name="P2.F9", need=attacked_twice, draw=_second_attack),
)
