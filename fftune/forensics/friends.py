"""Our own false friends, as examples of touched images: strong, careful, and one who knows us.

All are stored on 256 levels inside the ball, as a set of PNG files would hold them. A friend
touches an example where that makes the net right, and leaves it alone where it does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fftune.attacks.losses import margin
from fftune.attacks.pgd import pgd
from fftune.config import AttackConfig, Protocol, ThreatModel
from fftune.evaluation.stored_forms import on_levels
from fftune.keyed_noise import Noise
from fftune.threat import project, step

Kind = Literal["strong", "early", "limited", "adaptive"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""`strong`: PGD-20 to its end. `early`: stops at the first success. `limited`: goes back until y
leads by no more than it does in a clean example, drawn at random. `adaptive`: knows the detector,
and of all points that succeed hands over the one that looks cleanest to it."""
MEANING: dict[Kind, str] = {
    "strong": "PGD-20 to its end",
    "early": "stops at the first success",
    "limited": "keeps the margin of a clean example",
    "adaptive": "knows this detector and evades it",
}
STEPS = 20
HALVINGS = 6
"""Halvings of the way between the clean image and a point, in search of a margin."""
EVADING_STEPS = 40
"""Steps of the adaptive friend, each of eps / 8."""

Score = Callable[[Tensor, Tensor], Tensor]
"""(B,) scores of (B, C, H, W) images with labels, differentiable; higher looks more touched."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Craft:
    """Setting in which friends work."""

    net: nn.Module
    """Frozen, in eval mode."""
    threat: ThreatModel
    noise: Noise
    margins: Tensor
    """(M,) leads of y in clean examples that are right."""
    score: Score
    """Score of the detector, which the adaptive friend knows."""

    def stored(self, kind: Kind, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """(B, C, H, W) touched images on 256 levels; clean ones where the friend fails.

        Args:
            x, y: (B, C, H, W) images that the net gets wrong, and (B,) int64 labels.
            ids: (B,) int64, which key what is random.
        """
        if kind == "adaptive":
            found = self._evading(x, y, ids)
        elif kind == "limited":
            found = self._limited(x, self._searched(x, y, ids, "last_iterate"), y, ids)
        else:
            found = self._searched(
                x, y, ids, "first_success" if kind == "early" else "last_iterate"
            )
        clean, found = on_levels(x, x, self.threat), on_levels(found, x, self.threat)
        return torch.where(_wide(self._lead(found, y) > 0), found, clean)

    def _searched(self, x: Tensor, y: Tensor, ids: Tensor, protocol: Protocol) -> Tensor:
        early = protocol == "first_success"
        config = AttackConfig(
            threat=self.threat,
            steps=2 * STEPS if early else STEPS,
            step_size=self.threat.eps / (8 if early else 4),
            start="none" if early else "uniform",
            protocol=protocol,
        )
        return pgd(
            self.net, x, y, config=config, goal="hypocritical", loss="ce", noise=self.noise, ids=ids
        )

    def _limited(self, x: Tensor, found: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """Go back towards x until y leads by what it leads in some clean example."""
        drawn = self.noise.fold("margin").uniform(ids, (1,)).flatten()
        wanted = self.margins.sort().values[(drawn * len(self.margins)).long()]
        near, far = torch.zeros_like(wanted), torch.ones_like(wanted)
        for _ in range(HALVINGS):
            middle = (near + far) / 2
            at = on_levels(x + _wide(middle) * (found - x), x, self.threat)
            enough = self._lead(at, y) >= wanted
            near, far = torch.where(enough, near, middle), torch.where(enough, middle, far)
        return x + _wide(far) * (found - x)

    def _evading(self, x: Tensor, y: Tensor, ids: Tensor) -> Tensor:
        """Climb towards y where the net is wrong, go down the detector's score where it is right.

        Every iterate is stored and judged as the detector would; the best success is kept.
        """
        length = self.threat.eps / 8
        point, best = x.clone(), x.clone()
        lowest = torch.full_like(y, torch.inf, dtype=x.dtype)
        for _ in range(EVADING_STEPS):
            asked = point.detach().requires_grad_(True)
            lead = -margin(self.net(asked), y)
            score = self.score(asked, y).to(lead)
            won = lead.detach() > 0
            (uphill,) = torch.autograd.grad(torch.where(won, -score, lead).sum(), asked)
            kept = on_levels(asked.detach(), x, self.threat)
            looks = torch.where(won & (self._lead(kept, y) > 0), score.detach(), torch.inf)
            best = torch.where(_wide(looks < lowest), kept, best)
            lowest = torch.minimum(lowest, looks)
            point = project(step(point, uphill, length, self.threat.norm), x, self.threat)
        return best

    def _lead(self, x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            return -margin(self.net(x), y)


def _wide(rows: Tensor) -> Tensor:
    return rows.view(-1, 1, 1, 1)
