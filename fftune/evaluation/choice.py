"""Choice among the points that several searches found, by an attacker behind a random defense."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.attacks.losses import AttackObjective, is_defined
from fftune.config import Goal, Loss
from fftune.defenses import Defended, Defense
from fftune.keyed_noise import ExampleNoise


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Choice that an attacker makes, for each example, among the points of an attack's stages.

    He tries them behind the whole defense, on draws of his own: a point that fools one draw by luck
    is worth less than one that fools most (Croce et al. 2022 keep the worse of two over 5 draws).
    """

    defense: Defense
    draws: int
    """Draws that each point is tried behind."""

    @property
    def passes(self) -> int:
        """Forward passes that one point takes, roughly; see `AttackSpec.cost`."""
        return self.draws * (3 * self.defense.passes + 1)


def preferred(
    choice: Choice,
    net: nn.Module,
    points: Sequence[Tensor],
    goal: Goal,
    *,
    label: Tensor,
    clean: Tensor,
    noise: ExampleNoise,
) -> Tensor:
    """(B, C, H, W), of each example the point that serves the goal behind most draws.

    Of points that do so behind equally many, the one of the largest mean margin; then the first.

    Args:
        net: the bare net.
        points: (B, C, H, W) each.
        label: (B,) int64, the label that the goal speaks of.
        clean: (B, K), the bare net's logits of the clean images.
        noise: the attacker's, of which a branch of its own is drawn from; all points meet the same.
    """
    loss: Loss = "margin" if is_defined(goal, "margin") else "ce"
    aim = AttackObjective(goal=goal, loss=loss, y=label, logits_clean=clean)
    best = points[0]
    best_wins, best_loss = _tried(choice, net, best, aim, noise)
    for point in points[1:]:
        wins, mean_loss = _tried(choice, net, point, aim, noise)
        better = (wins > best_wins) | ((wins == best_wins) & (mean_loss > best_loss))
        best = torch.where(better.view(-1, 1, 1, 1), point, best)
        best_wins = torch.where(better, wins, best_wins)
        best_loss = torch.where(better, mean_loss, best_loss)
    return best


def _tried(
    choice: Choice, net: nn.Module, x_pert: Tensor, aim: AttackObjective, noise: ExampleNoise
) -> tuple[Tensor, Tensor]:
    """(B,) number of draws behind which points serve the goal, and (B,) their mean loss."""
    wins, total = torch.zeros_like(aim.y), torch.zeros_like(x_pert[:, 0, 0, 0])
    for draw in range(choice.draws):
        behind = Defended(net, choice.defense, noise=noise.fold("choice", draw))
        with torch.no_grad():
            logits = behind(x_pert)
        wins = wins + aim.is_success(logits).long()
        total = total + aim(logits)
    return wins, total / choice.draws
