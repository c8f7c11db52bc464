"""Effect of one hedge on single images (Wu et al. 2021, 4.2 and appendix B)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import HedgeConfig, HedgeTrial, config_hash, told_radius
from fftune.defenses import Hedge
from fftune.defenses.analysis import Score, gradient_gap, ratio_gap, second_attack
from fftune.evaluation.defended import purify
from fftune.evaluation.job import COMPARED
from fftune.hedge_study.evaluation import battery_of, splits_of
from fftune.hedge_study.linear_cases import linear_cases
from fftune.hedge_study.pictures import png, similarity
from fftune.hedge_study.precomputed import PerturbedSet, perturbed_once
from fftune.hedge_study.showcase_schema import (
    Flips,
    Gaps,
    ImageStrip,
    Showcase,
    Similarity,
    Strip,
    Surface,
)
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    frozen,
    load_model,
    torch_threads,
    weights_hash,
)
from fftune.models.verdict import in_pieces
from fftune.user_code import answering

CLOSE = 64
"""Examples of each kind whose slopes and similarities are computed."""
SHOWN = 4
"""Examples of each kind that are shown as pictures."""
SECOND = 128
"""Examples that the second attack, on the hedged images, attacks."""
SIDE = 21
"""Grid points of a loss surface along either axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Defended:
    """Attacked images, and the same after a defense."""

    x: Tensor
    """(N, C, H, W), attacked."""
    x_def: Tensor
    """(N, C, H, W), defended."""
    before: Tensor
    """(N,) int64, the bare model's predictions on `x`."""
    after: Tensor
    """(N,) int64, its predictions on `x_def`."""


def showcase(config: HedgeTrial, cache: Path) -> Showcase:
    """Compute the effect of the config's hedge on test images.

    Args:
        cache: folder of perturbed examples; see `precomputed.perturbed_once`.
    """
    net, battery, device = load_model(config.net), battery_of(config), device_of(config.device)
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
    classes = test.source.classes
    with answering(), eval_mode(net), frozen(net), torch_threads(config.threads):
        net = adapted(net.to(device), perturbed.x[:COMPARED].to(device))
        gallery = _Gallery(
            net=net,
            config=config,
            perturbed=perturbed,
            classes=classes,
            device=device,
        )
        return gallery.showcase()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Gallery:
    """Model, hedge and perturbed images of a showcase."""

    net: nn.Module
    config: HedgeTrial
    perturbed: PerturbedSet
    classes: tuple[str, ...]
    device: str

    def showcase(self) -> Showcase:
        c, config = self.perturbed, self.config
        hedged = self._defended(c.x_adv, config.hedge)
        friendly = self._defended(c.x_hyp, config.hedge)
        few = slice(0, SECOND)
        noise = Noise(config.seed).fold(c.source, c.split, "exhibit")
        x, y = c.x[few].to(self.device), c.y[few].to(self.device)
        return Showcase(
            settings=config_hash(config),
            hedge=_describe(config.hedge),
            n=len(c.ids),
            flips=tuple(self._flips(hedged, friendly)),
            gaps=tuple(self._gaps(hedged, noise)),
            similarities=tuple(self._similarities(hedged, friendly)),
            second_attack=str(
                second_attack(self.net, x, y, config=config.crafting, noise=noise, ids=c.ids[few])
            ),
            linear=tuple(linear_cases()),
            strips=tuple(self._strips(hedged, friendly)),
            surfaces=tuple(self._surfaces(hedged, noise)),
        )

    def _defended(self, x: Tensor, config: HedgeConfig) -> _Defended:
        """Defend images with the first draw of a defense, a block at a time."""
        c = self.perturbed
        noise = Noise(self.config.seed).fold("defense", c.source, c.split, 0)
        size = self.config.block_size
        blocks = [
            purify(
                self.net,
                block.to(self.device),
                defense=Hedge(config=config),
                noise=ExampleNoise(noise, ids),
            ).cpu()
            for block, ids in zip(x.split(size), c.ids.split(size), strict=True)
        ]
        x_def = torch.cat(blocks)
        return _Defended(x=x, x_def=x_def, before=self._predict(x), after=self._predict(x_def))

    def _predict(self, x: Tensor) -> Tensor:
        """Predict (N,) int64 classes, a block at a time."""
        with torch.no_grad():
            preds = [
                in_pieces(self.net)(block.to(self.device)).argmax(1).cpu()
                for block in x.split(self.config.block_size)
            ]
        return torch.cat(preds)

    def _flips(self, hedged: _Defended, friendly: _Defended) -> Iterator[Flips]:
        random = replace(self.config.hedge, steps=0)
        c = self.perturbed
        for attack, x_pert, defended in (
            (c.attack, c.x_adv, hedged),
            (f"{c.attack}, false friend", c.x_hyp, friendly),
        ):
            for defense, one in (("random", self._defended(x_pert, random)), ("hedge", defended)):
                was, now = one.before == c.y, one.after == c.y
                yield Flips(
                    attack=attack,
                    defense=defense,
                    n=len(c.y),
                    right_before=int(was.sum()),
                    right_after=int(now.sum()),
                    false_to_true=int((~was & now).sum()),
                    true_to_false=int((was & ~now).sum()),
                    false_to_false=int((~was & ~now & (one.before != one.after)).sum()),
                )

    def _kinds(self, one: _Defended) -> dict[str, Tensor]:
        """Positions of predictions corrected (FtoT) and broken (TtoF)."""
        was, now = one.before == self.perturbed.y, one.after == self.perturbed.y
        return {
            "FtoT": (~was & now).nonzero().flatten()[:CLOSE],
            "TtoF": (was & ~now).nonzero().flatten()[:CLOSE],
        }

    def _false(self, one: _Defended, kind: str) -> Tensor:
        """(N,) int64, the false class before or after the defense."""
        return one.before if kind == "FtoT" else one.after

    def _gaps(self, hedged: _Defended, noise: Noise) -> Iterator[Gaps]:
        """Estimate slopes by gradient norms and by sampling, of logit and log-probability."""
        kinds = self._kinds(hedged)
        scores: tuple[Score, ...] = ("logit", "log_prob")
        for score in scores:
            for sampled in (False, True):
                found = {
                    kind: self._gap(hedged, kind, at, score, noise if sampled else None)
                    for kind, at in kinds.items()
                }
                what = "largest sampled ratio" if sampled else "l_1 norm of the gradient"
                yield Gaps(
                    estimator=f"{what}, {score}",
                    false_to_true=found["FtoT"],
                    true_to_false=found["TtoF"],
                )

    def _gap(
        self, one: _Defended, kind: str, at: Tensor, score: Score, noise: Noise | None
    ) -> tuple[float, ...]:
        if not len(at):
            return ()
        x, ids = one.x[at].to(self.device), self.perturbed.ids[at]
        false = self._false(one, kind)[at].to(self.device)
        true = self.perturbed.y[at].to(self.device)
        if noise is None:
            gap = gradient_gap(self.net, x, false, true, score=score)
        else:
            eps = self.config.eps_d
            gap = ratio_gap(self.net, x, false, true, score=score, eps=eps, noise=noise, ids=ids)
        return tuple(gap.tolist())

    def _similarities(self, hedged: _Defended, friendly: _Defended) -> Iterator[Similarity]:
        c = self.perturbed
        for pair, a, b in (
            ("adversarial - natural", c.x_adv, c.x),
            ("hypocritical - natural", c.x_hyp, c.x),
            ("hedged adversarial - natural", hedged.x_def, c.x),
            ("hedged adversarial - adversarial", hedged.x_def, c.x_adv),
            ("hedged hypocritical - natural", friendly.x_def, c.x),
        ):
            yield Similarity(pair=pair, values=tuple(similarity(a[:CLOSE], b[:CLOSE])))

    def _strips(self, hedged: _Defended, friendly: _Defended) -> Iterator[Strip]:
        c, names = self.perturbed, {"FtoT": "mended (FtoT)", "TtoF": "spoiled (TtoF)"}
        for kind, at in self._kinds(hedged).items():
            for i in at[:SHOWN].tolist():
                yield self._strip(names[kind], hedged, "adversarial", i)
        concealed = (friendly.before == c.y) & (self._predict(c.x) != c.y)
        for name, mask in (
            ("a false friend unmasked", concealed & (friendly.after != c.y)),
            ("a false friend believed", concealed & (friendly.after == c.y)),
        ):
            for i in mask.nonzero().flatten()[: SHOWN // 2].tolist():
                yield self._strip(name, friendly, "hypocritical", i)

    def _strip(self, kind: str, one: _Defended, attacked: str, i: int) -> Strip:
        c, scale = self.perturbed, 0.5 / max(self.config.attack.threat.eps, self.config.eps_d)
        clean = self._predict(c.x[i : i + 1])[0]
        names = [self.classes[int(label)] for label in (clean, one.before[i], one.after[i])]
        diff = one.x[i] - c.x[i], one.x_def[i] - one.x[i]
        pictures = (
            ("natural", c.x[i], names[0]),
            (attacked, one.x[i], names[1]),
            ("hedged", one.x_def[i], names[2]),
            ("attack's part", 0.5 + scale * diff[0], f"x {scale:.3g}"),
            ("hedge's part", 0.5 + scale * diff[1], f"x {scale:.3g}"),
        )
        truth = self.classes[int(c.y[i])]
        return Strip(
            kind=f"{kind}, {truth}",
            id=int(c.ids[i]),
            pictures=tuple(
                ImageStrip(caption=f"{name}: {label}", png=png(x)) for name, x, label in pictures
            ),
        )

    def _surfaces(self, hedged: _Defended, noise: Noise) -> Iterator[Surface]:
        """Compute losses along the hedge's direction and random signs, at a corrected image."""
        c, radius = self.perturbed, self.config.eps_d
        for i in self._kinds(hedged)["FtoT"][:1].tolist():
            x, shape = hedged.x[i], tuple(hedged.x.shape[1:])
            signs = noise.fold("surface").uniform(c.ids[i : i + 1], shape)[0].sub(0.5).sign()
            u, v = (hedged.x_def[i] - x).sign() * radius, signs * radius
            at = torch.linspace(-2, 2, SIDE)
            grid = x + at.view(-1, 1, 1, 1, 1) * u + at.view(1, -1, 1, 1, 1) * v
            points = grid.flatten(0, 1).clamp(0, 1).to(self.device)
            with torch.no_grad():
                logits = torch.cat([self.net(p) for p in points.split(self.config.block_size)])
            false, true = int(hedged.before[i]), int(c.y[i])
            losses = [
                F.cross_entropy(logits, torch.full_like(logits[:, 0], k).long(), reduction="none")
                for k in (false, true)
            ]
            one, two = (tuple(map(tuple, loss.view(SIDE, SIDE).tolist())) for loss in losses)
            yield Surface(
                id=int(c.ids[i]),
                false=self.classes[false],
                true=self.classes[true],
                at=tuple(at.tolist()),
                false_loss=one,
                true_loss=two,
            )


def _describe(config: HedgeConfig) -> str:
    if not config.steps:
        return f"uniform noise, eps_d {told_radius(config.eps_d)}"
    radius, step = told_radius(config.eps_d), told_radius(config.step_length)
    return f"eps_d {radius}, K {config.steps}, step {step}"
