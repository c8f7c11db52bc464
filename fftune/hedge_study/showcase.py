"""Effect of the chosen hedge on single images (Wu et al. 2021, 4.2 and appendix B)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fftune.config import (
    HedgeConfig,
    HedgeTrial,
    ShowcaseConfig,
    config_hash,
    told_radius,
)
from fftune.hedge_study.effects import DefendedSet, HedgeEffects, effects_of
from fftune.hedge_study.evaluation import battery_of, splits_of
from fftune.hedge_study.linear_cases import linear_cases
from fftune.hedge_study.pictures import png
from fftune.hedge_study.precomputed import perturbed_once
from fftune.hedge_study.showcase_schema import Flips, ImageStrip, Showcase, Strip, Surface
from fftune.models import load_model, weights_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """All that a showcase follows from."""

    trial: HedgeTrial
    showcase: ShowcaseConfig


def settings_hash(config: HedgeTrial, shown: ShowcaseConfig) -> str:
    """Hash of all that a showcase follows from; with the default numbers that of the trial."""
    if shown == ShowcaseConfig():
        return config_hash(config)
    return config_hash(_Shown(trial=config, showcase=shown))


def showcase(config: HedgeTrial, shown: ShowcaseConfig, cache: Path) -> Showcase:
    """Compute the effect of the config's hedge on test images.

    Args:
        cache: folder of perturbed examples; see `precomputed.perturbed_once`.
    """
    net, battery = load_model(config.net), battery_of(config)
    test = splits_of(config.data, config.examples)["test"]
    perturbed = perturbed_once(
        cache,
        net,
        test,
        battery,
        config.crafting,
        model_hash=weights_hash(net),
        spec=config.net,
    )
    with effects_of(net, perturbed, config, shown, test.source.classes) as effects:
        (second,) = effects.second_attacks([config.crafting.steps])
        return Showcase(
            settings=settings_hash(config, shown),
            hedge=told_hedge(config.hedge),
            n=len(perturbed.ids),
            flips=tuple(_flips(effects)),
            gaps=tuple(effects.gaps()),
            similarities=tuple(effects.similarities()),
            second_attack=str(second),
            linear=tuple(linear_cases()),
            strips=tuple(_strips(effects)),
            surfaces=tuple(_surfaces(effects)),
        )


def _flips(effects: HedgeEffects) -> Iterator[Flips]:
    random = replace(effects.config.hedge, steps=0)
    c = effects.perturbed
    for attack, x_pert, hedged in (
        (c.attack, c.x_adv, effects.hedged),
        (f"{c.attack}, false friend", c.x_hyp, effects.friendly),
    ):
        noisy = effects.defended(x_pert, random)
        yield effects.flips(noisy, attack=attack, defense="random")
        yield effects.flips(hedged, attack=attack, defense="hedge")


def _strips(effects: HedgeEffects) -> Iterator[Strip]:
    c, shown = effects.perturbed, effects.shown.pictures
    names = {"FtoT": "mended (FtoT)", "TtoF": "spoiled (TtoF)"}
    for kind, at in effects.kinds().items():
        for i in at[:shown].tolist():
            yield _strip(effects, names[kind], effects.hedged, "adversarial", i)
    friendly = effects.friendly
    concealed = (friendly.before == c.y) & (effects.clean != c.y)
    for name, mask in (
        ("a false friend unmasked", concealed & (friendly.after != c.y)),
        ("a false friend believed", concealed & (friendly.after == c.y)),
    ):
        for i in mask.nonzero().flatten()[: shown // 2].tolist():
            yield _strip(effects, name, friendly, "hypocritical", i)


def _strip(effects: HedgeEffects, kind: str, one: DefendedSet, attacked: str, i: int) -> Strip:
    c, config, classes = effects.perturbed, effects.config, effects.classes
    scale = 0.5 / max(config.attack.threat.eps, config.eps_d)
    names = [classes[int(label)] for label in (effects.clean[i], one.before[i], one.after[i])]
    diff = one.x[i] - c.x[i], one.x_def[i] - one.x[i]
    pictures = (
        ("natural", c.x[i], names[0]),
        (attacked, one.x[i], names[1]),
        ("hedged", one.x_def[i], names[2]),
        ("attack's part", 0.5 + scale * diff[0], f"x {scale:.3g}"),
        ("hedge's part", 0.5 + scale * diff[1], f"x {scale:.3g}"),
    )
    return Strip(
        kind=f"{kind}, {classes[int(c.y[i])]}",
        id=int(c.ids[i]),
        pictures=tuple(
            ImageStrip(caption=f"{name}: {label}", png=png(x)) for name, x, label in pictures
        ),
    )


def _surfaces(effects: HedgeEffects) -> Iterator[Surface]:
    """Compute losses around the first corrected image, if there is one."""
    for i in effects.kinds()["FtoT"][:1].tolist():
        yield effects.surface(i)


def told_hedge(config: HedgeConfig) -> str:
    """Describe a hedge in a few words."""
    if not config.steps:
        return f"uniform noise, eps_d {told_radius(config.eps_d)}"
    radius, step = told_radius(config.eps_d), told_radius(config.step_length)
    return f"eps_d {radius}, K {config.steps}, step {step}"
