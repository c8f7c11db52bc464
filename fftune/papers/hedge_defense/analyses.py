"""Analyses of Hedge Defense on one net (Wu et al. 2021, 4.2, 4.3 and appendix B)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from typing import Any

import torch
from torch import Tensor

from fftune.config import AttackConfig, HedgeConfig, HedgeTrial, ShowcaseConfig, ThreatModel
from fftune.data.subset import sample
from fftune.hedge_study.effects import DefendedSet, HedgeEffects, effects_of, losses_of, plain
from fftune.hedge_study.evaluation import battery_of
from fftune.hedge_study.pictures import png, similarity
from fftune.hedge_study.precomputed import perturb_dataset
from fftune.hedge_study.showcase import told_hedge
from fftune.hedge_study.showcase_schema import Flips
from fftune.models import load_model, weights_hash
from fftune.papers.tasks import Given

STEPS = (0, 1, 2, 3, 5, 10, 20)
"""Steps K of figure 3a; 0 is random noise."""
RADII_D = (1, 2, 4, 8, 16, 32)
"""Radii of the hedge in figure 3b, in eighths of the usual radius: 1/255 where that is 8/255."""
RADII_A = (1, 2, 4, 6, 8)
"""Radii of the attack in figure 3c."""
MAP_A, MAP_D = (2, 4, 6, 8), (4, 8, 16, 32)
"""Radii of figure 3d."""
USUAL = 8
"""The usual radius of both, 8/255."""
PICTURES = 6
"""Examples of each kind that are shown, where no limit says otherwise."""
ALIKE = 0.9
"""SSIM that the paper's images generally exceed."""


def effects(given: Given) -> Mapping[str, Any]:
    """Show the effect of the hedge on images that PGD has perturbed (figures 1, 2b, 2c, 5, 6).

    Settings may limit the examples; see `ShowcaseConfig`. Without limits all are analysed.
    """
    with _opened(given, trial_of(given)) as e:
        c, random = e.perturbed, replace(e.config.hedge, steps=0)
        natural = e.defended(c.x, e.config.hedge)
        chosen = {kind: at[e.clean[at] == c.y[at]] for kind, at in e.kinds().items()}
        corrected = chosen["FtoT"][:1].tolist()
        return {
            "n": len(c.ids),
            "hedge": told_hedge(e.config.hedge),
            "flips": [
                asdict(e.flips(e.defended(c.x_adv, random), attack=c.attack, defense="random")),
                asdict(e.flips(e.hedged, attack=c.attack, defense="hedge")),
            ],
            "gaps": [asdict(gaps) for gaps in e.gaps()],
            "similarities": [
                _alike(one.pair, one.values) for one in e.similarities() if one.values
            ],
            "examples": {
                kind: [_example(e, natural, i) for i in at[: e.shown.pictures].tolist()]
                for kind, at in chosen.items()
            },
            "plane": next((_plane(e, i) for i in corrected), None),
            "surface": next((asdict(e.surface(i)) for i in corrected), None),
        }


def ablation(given: Given) -> Mapping[str, Any]:
    """Count what hedges of several K and radii change (figures 3 and 7).

    The setting `search` is the attack, "cw" or "pgd". Images are perturbed once for each of its
    radii. A step is as long as for the usual radius, 4/255, whatever the hedge's own.
    """
    unit, points = given.threat.eps / USUAL, []
    for eps_a in sorted({*RADII_A, *MAP_A}):
        trial = trial_of(given, str(given.settings["search"]), eps_a * unit)
        with _opened(given, trial) as e:
            for eps_d, steps in _hedges(eps_a):
                hedge = HedgeConfig(
                    norm=given.threat.norm,
                    eps_d=eps_d * unit,
                    steps=steps,
                    step_size=USUAL / 2 * unit,
                )
                flips = _flips(e, hedge)
                at = {"eps_a": eps_a, "eps_d": eps_d, "steps": steps}
                points.append(at | asdict(flips))
    return {"radius": given.threat.eps, "points": points}


def attacked_twice(given: Given) -> Mapping[str, Any]:
    """Attack the predictions of adversarial examples, by PGD of every length (figure 9, B.10).

    The setting `attacked_twice` limits the examples; see `ShowcaseConfig`.
    """
    with _opened(given, trial_of(given)) as e:
        lengths = range(e.config.crafting.steps + 1)
        n = min(e.shown.attacked_twice, len(e.perturbed.ids))
        counts = [asdict(one) for one in e.second_attacks(lengths)]
        return {"n": n, "lengths": list(lengths), "counts": counts}


def trial_of(given: Given, search: str = "pgd", eps: float | None = None) -> HedgeTrial:
    """The hedge and the attack as published: 20 steps of half the radius each (4.1, B.2).

    Args:
        eps: radius of the attack; default that of the ball, as the hedge's.
    """
    norm, radius = given.threat.norm, given.threat.eps
    threat = ThreatModel(norm=norm, eps=radius if eps is None else eps)
    return HedgeTrial(
        norm=norm,
        eps_d=radius,
        net=given.nets[0],
        data=given.data,
        attack=AttackConfig(threat=threat, search=search, steps=20),
        examples=given.examples,
        device=given.device,
    )


def shown_of(settings: Mapping[str, Any], examples: int) -> ShowcaseConfig:
    """Numbers of examples: those that the settings limit, else all that there are."""
    names = {f.name for f in fields(ShowcaseConfig)}
    limits = {name: value for name, value in settings.items() if name in names}
    usual = {"analysed": examples, "attacked_twice": examples, "pictures": PICTURES}
    return ShowcaseConfig(**(usual | limits))


@contextmanager
def _opened(given: Given, trial: HedgeTrial) -> Iterator[HedgeEffects]:
    """Perturb the test images, and open the net for questions about them."""
    net = load_model(trial.net)
    test = sample(given.data, "test", given.examples)
    perturbed = perturb_dataset(
        net, test, battery_of(trial), trial.crafting, model_hash=weights_hash(net)
    )
    shown = shown_of(given.settings, len(test))
    with effects_of(net, perturbed, trial, shown, test.source.classes) as found:
        yield found


def _hedges(eps_a: int) -> list[tuple[int, int]]:
    """Pairs (eps_d, K) that are tried on attacks of a radius, each once."""
    most = STEPS[-1]
    pairs = [(USUAL, most)] if eps_a in RADII_A else []
    if eps_a in MAP_A:
        pairs += [(eps_d, most) for eps_d in MAP_D]
    if eps_a == USUAL:
        pairs += [(USUAL, steps) for steps in STEPS] + [(eps_d, most) for eps_d in RADII_D]
    return list(dict.fromkeys(pairs))


def _flips(e: HedgeEffects, hedge: HedgeConfig) -> Flips:
    defense = "hedge" if hedge.steps else "random"
    defended = e.defended(e.perturbed.x_adv, hedge)
    return e.flips(defended, attack=e.perturbed.attack, defense=defense)


def _alike(pair: str, values: Sequence[float]) -> dict[str, Any]:
    above = sum(value > ALIKE for value in values)
    return {"pair": pair, "n": len(values), "mean": sum(values) / len(values), "above": above}


def _example(e: HedgeEffects, natural: DefendedSet, i: int) -> dict[str, Any]:
    """Picture a natural image, attacked, hedged after that, and hedged without."""
    c, y = e.perturbed, int(e.perturbed.y[i])
    versions = (
        ("natural", c.x[i], int(e.clean[i])),
        ("adversarial", c.x_adv[i], int(e.hedged.before[i])),
        ("hedged adversarial", e.hedged.x_def[i], int(e.hedged.after[i])),
        ("hedged natural", natural.x_def[i], int(natural.after[i])),
    )
    pictures = [
        {
            "role": role,
            "png": png(x),
            "label": e.classes[label],
            "right": label == y,
            "ssim": similarity(x[None], c.x[i : i + 1])[0],
        }
        for role, x, label in versions
    ]
    return {"id": int(c.ids[i]), "truth": e.classes[y], "pictures": pictures}


def _plane(e: HedgeEffects, i: int) -> dict[str, Any]:
    """Compute the truth's loss and margin on the plane of a natural, attacked and hedged image."""
    c, y = e.perturbed, int(e.perturbed.y[i])
    attack, hedge = c.x_adv[i] - c.x[i], e.hedged.x_def[i] - c.x_adv[i]
    at = torch.linspace(-1, 2, e.shown.grid)
    logits = e.logits_on(c.x[i], attack, hedge, at, at)
    return {
        "id": int(c.ids[i]),
        "true": e.classes[y],
        "at": at.tolist(),
        "loss": plain(losses_of(logits, y)),
        "margin": plain(_margin(logits, y)),
    }


def _margin(logits: Tensor, label: int) -> Tensor:
    """(A, B) score of a class less the largest other, on a grid of (A, B, K) logits."""
    others = logits.clone()
    others[..., label] = -torch.inf
    return logits[..., label] - others.amax(-1)
