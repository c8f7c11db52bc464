"""What a search climbs, a second time: one example's logits, in the papers' words."""

import torch
from torch import Tensor


def ce(z: Tensor, y: int) -> Tensor:
    """-log p_y."""
    return -(z[y] - z.exp().sum().log())


def margin(z: Tensor, y: int) -> Tensor:
    """max_{j != y} z_j - z_y (Carlini & Wagner 2017)."""
    return torch.stack([z[j] for j in range(len(z)) if j != y]).max() - z[y]


def probability_margin(z: Tensor, y: int) -> Tensor:
    """max_{j != y} p_j - p_y (Xie et al. 2024)."""
    return margin(z.exp() / z.exp().sum(), y)


def dlr(z: Tensor, y: int) -> Tensor:
    """-(z_y - max_{j != y} z_j) / (z_(1) - z_(3)) (Croce & Hein 2020, eq. 5)."""
    top = z.sort(descending=True).values
    return margin(z, y) / (top[0] - top[2] if len(z) > 2 else 1)


def dlr_targeted(z: Tensor, y: int, target: int) -> Tensor:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2) (Croce & Hein 2020, eq. 6).

    Of three classes the last two stand below; of two classes there is no scale.
    """
    top = z.sort(descending=True).values
    below = top[1:3] if len(z) == 3 else top[2:4]
    return (z[target] - z[y]) / (top[0] - below.mean() if len(z) > 2 else 1)


def kl(z_p: Tensor, z_q: Tensor) -> Tensor:
    """Sum of p log(p / q)."""
    p, q = z_p.exp() / z_p.exp().sum(), z_q.exp() / z_q.exp().sum()
    return (p * (p / q).log()).sum()


def climbed(
    z: Tensor, goal: str, loss: str, y: int, clean: Tensor | None = None, target: int | None = None
) -> Tensor:
    """The number that a goal makes larger."""
    if goal in ("hedge", "label_free"):
        every = -z.sum() if loss == "linear" else sum(ce(z, c) for c in range(len(z)))
        return every if goal == "hedge" else -every
    if goal == "stability":
        if loss == "kl":
            return kl(clean, z)
        y = int(clean.argmax())
    if goal in ("targeted", "hypocritical"):
        rival = next(int(j) for j in z.argsort(descending=True) if int(j) != y)
        towards = {
            "ce": lambda: -ce(z, y),
            "margin": lambda: -margin(z, y),
            "probability_margin": lambda: -probability_margin(z, y),
            "dlr": lambda: dlr_targeted(z, rival, y),
            "linear": lambda: z[y],
        }
        return towards[loss]()
    if target is not None and loss in ("margin", "dlr", "probability_margin"):
        p = z.exp() / z.exp().sum()
        leads = {"margin": z[target] - z[y], "probability_margin": p[target] - p[y]}
        return leads.get(loss, dlr_targeted(z, y, target))
    away = {
        "ce": lambda: ce(z, y),
        "margin": lambda: margin(z, y),
        "probability_margin": lambda: probability_margin(z, y),
        "dlr": lambda: dlr(z, y),
        "linear": lambda: -z[y],
    }
    return away[loss]()


def reached(z: Tensor, goal: str, y: int, clean: Tensor | None = None) -> bool:
    """Is the goal reached?"""
    if goal == "hedge":
        return False
    if goal in ("stability", "label_free"):
        return int(z.argmax()) != int(clean.argmax())
    return (int(z.argmax()) == y) == (goal in ("targeted", "hypocritical"))
