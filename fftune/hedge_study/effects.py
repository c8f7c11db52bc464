"""Effect of a hedge on perturbed images, one by one (Wu et al. 2021, 4.2 and appendix B)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import HedgeConfig, HedgeTrial, ShowcaseConfig
from fftune.defenses import Hedge
from fftune.defenses.analysis import Score, SecondAttack, gradient_gap, ratio_gap, second_attacks
from fftune.evaluation.defended import purify
from fftune.evaluation.job import COMPARED
from fftune.hedge_study.pictures import similarity
from fftune.hedge_study.precomputed import PerturbedSet
from fftune.hedge_study.showcase_schema import Flips, Gaps, Similarity, Surface
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import adapted, device_of, eval_mode, frozen, torch_threads
from fftune.models.verdict import in_pieces
from fftune.user_code import answering


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DefendedSet:
    """Perturbed images, and the same after a defense."""

    x: Tensor
    """(N, C, H, W), perturbed."""
    x_def: Tensor
    """(N, C, H, W), defended."""
    before: Tensor
    """(N,) int64, the bare model's predictions on `x`."""
    after: Tensor
    """(N,) int64, its predictions on `x_def`."""


@contextmanager
def effects_of(
    net: nn.Module,
    perturbed: PerturbedSet,
    config: HedgeTrial,
    shown: ShowcaseConfig,
    classes: tuple[str, ...],
) -> Iterator["HedgeEffects"]:
    """Open a net and its perturbed images for questions about hedges, while the block runs.

    Args:
        config: the hedge, the attack that has perturbed the images, and where to compute.
        classes: names of the classes.
    """
    device = device_of(config.device)
    with answering(), eval_mode(net), frozen(net), torch_threads(config.threads):
        net = adapted(net.to(device), perturbed.x[:COMPARED].to(device))
        yield HedgeEffects(
            net=net,
            config=config,
            shown=shown,
            perturbed=perturbed,
            classes=classes,
            device=device,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class HedgeEffects:
    """A net, a hedge, and images that were perturbed on the bare net."""

    net: nn.Module
    config: HedgeTrial
    shown: ShowcaseConfig
    perturbed: PerturbedSet
    classes: tuple[str, ...]
    device: str

    @cached_property
    def hedged(self) -> DefendedSet:
        """The adversarial images behind the hedge."""
        return self.defended(self.perturbed.x_adv, self.config.hedge)

    @cached_property
    def friendly(self) -> DefendedSet:
        """The hypocritical images behind the hedge."""
        return self.defended(self.perturbed.x_hyp, self.config.hedge)

    @cached_property
    def clean(self) -> Tensor:
        """(N,) int64, the bare net's predictions of the natural images."""
        return self.predict(self.perturbed.x)

    @property
    def noise(self) -> Noise:
        """Noise of sampled slopes, second attacks and directions."""
        c = self.perturbed
        return Noise(self.config.seed).fold(c.source, c.split, "exhibit")

    def defended(self, x: Tensor, config: HedgeConfig) -> DefendedSet:
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
        return DefendedSet(x=x, x_def=x_def, before=self.predict(x), after=self.predict(x_def))

    def predict(self, x: Tensor) -> Tensor:
        """Predict (N,) int64 classes, a block at a time."""
        with torch.no_grad():
            preds = [
                in_pieces(self.net)(block.to(self.device)).argmax(1).cpu()
                for block in x.split(self.config.block_size)
            ]
        return torch.cat(preds)

    def flips(self, one: DefendedSet, *, attack: str, defense: str) -> Flips:
        """Count what a defense changes."""
        y = self.perturbed.y
        was, now = one.before == y, one.after == y
        return Flips(
            attack=attack,
            defense=defense,
            n=len(y),
            right_before=int(was.sum()),
            right_after=int(now.sum()),
            false_to_true=int((~was & now).sum()),
            true_to_false=int((was & ~now).sum()),
            false_to_false=int((~was & ~now & (one.before != one.after)).sum()),
        )

    def kinds(self) -> dict[str, Tensor]:
        """Positions of predictions that the hedge corrects (FtoT) and breaks (TtoF)."""
        was, now = self.hedged.before == self.perturbed.y, self.hedged.after == self.perturbed.y
        return {
            "FtoT": (~was & now).nonzero().flatten(),
            "TtoF": (was & ~now).nonzero().flatten(),
        }

    def gaps(self) -> Iterator[Gaps]:
        """Estimate slopes by gradient norms and by sampling, of logit and log-probability."""
        kinds = {kind: at[: self.shown.analysed] for kind, at in self.kinds().items()}
        scores: tuple[Score, ...] = ("logit", "log_prob")
        for score in scores:
            for sampled in (False, True):
                found = {
                    kind: self._gap(kind, at, score, sampled=sampled) for kind, at in kinds.items()
                }
                what = "largest sampled ratio" if sampled else "l_1 norm of the gradient"
                yield Gaps(
                    estimator=f"{what}, {score}",
                    false_to_true=found["FtoT"],
                    true_to_false=found["TtoF"],
                )

    def _gap(self, kind: str, at: Tensor, score: Score, *, sampled: bool) -> tuple[float, ...]:
        values: list[float] = []
        for rows in at.split(self.config.block_size):
            if not len(rows):
                continue
            x, ids = self.hedged.x[rows].to(self.device), self.perturbed.ids[rows]
            false = self.hedged.before if kind == "FtoT" else self.hedged.after
            labels = (false[rows].to(self.device), self.perturbed.y[rows].to(self.device))
            if sampled:
                eps, noise = self.config.eps_d, self.noise
                gap = ratio_gap(self.net, x, *labels, score=score, eps=eps, noise=noise, ids=ids)
            else:
                gap = gradient_gap(self.net, x, *labels, score=score)
            values += gap.tolist()
        return tuple(values)

    def similarities(self) -> Iterator[Similarity]:
        """Compute the SSIM of pairs of versions of the same images."""
        c, few = self.perturbed, slice(self.shown.analysed)
        for pair, a, b in (
            ("adversarial - natural", c.x_adv, c.x),
            ("hypocritical - natural", c.x_hyp, c.x),
            ("hedged adversarial - natural", self.hedged.x_def, c.x),
            ("hedged adversarial - adversarial", self.hedged.x_def, c.x_adv),
            ("hedged hypocritical - natural", self.friendly.x_def, c.x),
        ):
            yield Similarity(pair=pair, values=tuple(similarity(a[few], b[few])))

    def second_attacks(self, lengths: Sequence[int]) -> tuple[SecondAttack, ...]:
        """Attack the predictions of adversarial examples; see `defenses.analysis`."""
        c, few = self.perturbed, slice(self.shown.attacked_twice)
        columns = (t[few].split(self.config.block_size) for t in (c.x, c.y, c.ids))
        blocks = [
            second_attacks(
                self.net,
                x.to(self.device),
                y.to(self.device),
                config=self.config.crafting,
                noise=self.noise,
                ids=ids,
                lengths=lengths,
            )
            for x, y, ids in zip(*columns, strict=True)
        ]
        return tuple(reduce(add, length) for length in zip(*blocks, strict=True))

    def surface(self, i: int) -> Surface:
        """Compute losses along the hedge's direction and random signs, at attacked image `i`."""
        c, radius = self.perturbed, self.config.eps_d
        x, shape = self.hedged.x[i], tuple(self.hedged.x.shape[1:])
        drawn = self.noise.fold("surface").uniform(c.ids[i : i + 1], shape)[0]
        signs = drawn.sub(0.5).sign()
        u, v = (self.hedged.x_def[i] - x).sign() * radius, signs * radius
        at = torch.linspace(-2, 2, self.shown.grid)
        logits = self.logits_on(x, u, v, at, at)
        false, true = int(self.hedged.before[i]), int(c.y[i])
        false_loss, true_loss = (plain(losses_of(logits, label)) for label in (false, true))
        return Surface(
            id=int(c.ids[i]),
            false=self.classes[false],
            true=self.classes[true],
            at=tuple(at.tolist()),
            false_loss=false_loss,
            true_loss=true_loss,
        )

    def logits_on(self, x: Tensor, u: Tensor, v: Tensor, along: Tensor, across: Tensor) -> Tensor:
        """Compute logits on the plane x + a u + b v, its pixels clamped to [0, 1].

        Args:
            x, u, v: (C, H, W), a point and two directions.
            along, across: (A,) values of a, (B,) values of b.

        Returns:
            (A, B, K).
        """
        grid = x + along.view(-1, 1, 1, 1, 1) * u + across.view(1, -1, 1, 1, 1) * v
        points = grid.flatten(0, 1).clamp(0, 1).to(self.device)
        with torch.no_grad():
            logits = torch.cat([self.net(p) for p in points.split(self.config.block_size)])
        return logits.view(len(along), len(across), -1).cpu()


def losses_of(logits: Tensor, label: int) -> Tensor:
    """(A, B) cross-entropy of one class on a grid of (A, B, K) logits."""
    flat = logits.flatten(0, 1)
    labels = torch.full((len(flat),), label, device=flat.device)
    return F.cross_entropy(flat, labels, reduction="none").view(logits.shape[:2])


def plain(grid: Tensor) -> tuple[tuple[float, ...], ...]:
    """Convert a matrix to rows of numbers."""
    return tuple(map(tuple, grid.tolist()))
