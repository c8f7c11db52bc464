"""Robust accuracy that a friend fakes: images at which an attack on the net fails.

A net that is not robust at x may be so at a point x' near by. A friend who knows the net hands in
x' instead of x, and whoever measures robustness there finds the net right after every attack.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.certified import certify
from fftune.config import AttackConfig, BatteryConfig, ThreatModel
from fftune.data import Dataset
from fftune.data.model_spec import load_for
from fftune.data.subset import sampled
from fftune.evaluation.batteries import ensemble
from fftune.evaluation.direct import attack_model
from fftune.evaluation.job import EvalJob, check_images, under_test
from fftune.keyed_noise import Noise
from fftune.models import eval_mode
from fftune.models.linf_dist import LinfDist
from fftune.papers.tasks import Given
from fftune.threat import project, step


@dataclass(frozen=True, slots=True, kw_only=True)
class FriendSearch:
    """Search of a friend for a point at which the net is robust."""

    steps: int = 20
    """Steps of eps / 4 down the loss at the worst point that the adversary has found."""
    inner: int = 10
    """PGD steps of the adversary at each of them."""


def robust_friend(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    search: FriendSearch,
    noise: Noise,
    ids: Tensor,
) -> Tensor:
    """Minimise over x' in the ball the largest loss that an adversary finds in the ball around x'.

    The hypocritical twin of adversarial training's saddle point (Madry et al. 2018): min over x'
    of max over z of CE(f(z), y), |x' - x| <= eps, |z - x'| <= eps. As z - x' is held fixed while
    x' moves, the gradient at z is that of x'. A heuristic: it finds neither minimum nor maximum.

    Args:
        x: (B, C, H, W) float, pixels in [0, 1].
        y: (B,) int64, the true classes.
        threat: the ball of the friend around x, and that of the adversary around x'.

    Returns:
        (B, C, H, W) inside the ball: of all points that were visited, x among them, that at which
        the adversary has left the largest margin.
    """
    adversary = AttackConfig(threat=threat, steps=search.inner)
    best, most = x.clone(), torch.full_like(y, -torch.inf, dtype=x.dtype)
    x_hyp = x.clone()
    for k in range(search.steps + 1):
        z = pgd(
            net,
            x_hyp,
            y,
            config=adversary,
            goal="adversarial",
            loss="ce",
            noise=noise.fold("friend", k),
            ids=ids,
        ).requires_grad_()
        logits = net(z)
        (grad,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), z)
        margin = torch.minimum(_margin(logits.detach(), y), _margin(net(x_hyp).detach(), y))
        better = margin > most
        best[better], most = x_hyp[better], torch.maximum(margin, most)
        x_hyp = project(step(x_hyp, -grad, threat.eps / 4, threat.norm), x, threat)
    return best


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    own = logits.gather(1, y[:, None]).squeeze(1)
    return own - logits.scatter(1, y[:, None], -torch.inf).amax(1)


def fake(given: Given) -> Mapping[str, Any]:
    """Measure robust accuracy at the images, and at those that a friend hands in instead.

    The friend leaves images alone at which the net is robust. Judge is AutoAttack at its published
    lengths. Its failure at x' is no witness: of what a friend could do at most, the result is
    neither a lower nor an upper bound. For a bare `linf_dist` net and l_inf a certificate is one.

    Settings are those of `FriendSearch`.

    Returns:
        `nets`, for each the counts `total`; `right`, clean; `robust`, right after AutoAttack at x;
        `faked`, those of the others that are right after AutoAttack at x'; and `certified` and
        `certified_faked`, right at every point of the ball around x, and around what is handed in;
        None for nets without certificate.
    """
    dataset, _ = sampled(given.data, "test", given.examples)
    search = FriendSearch(**{k: v for k, v in given.settings.items() if k in ("steps", "inner")})
    nets = (load_for(spec, lambda: dataset)[0] for spec in given.nets)
    return {"nets": [_faked(net, dataset, given, search) for net in nets]}


def _faked(
    net: nn.Module, dataset: Dataset, given: Given, search: FriendSearch
) -> dict[str, int | None]:
    battery = BatteryConfig(name="autoattack", device=given.device)
    right, robust = judged(net, dataset, battery, given.threat)
    strong, weak = (
        dataset.select(rows.nonzero().flatten(), dataset.split) for rows in (robust, ~robust)
    )
    helped = _helped(net, weak, battery, given.threat, search)
    counts: dict[str, int | None] = {
        "total": len(dataset),
        "right": int(right.sum()),
        "robust": int(robust.sum()),
        "faked": int(judged(net, helped, battery, given.threat)[1].sum()),
        "certified": None,
        "certified_faked": None,
    }
    if isinstance(net, LinfDist) and given.threat.norm == "linf":
        parts = [_certified(net, part, given.threat) for part in (strong, weak, helped)]
        counts["certified"], counts["certified_faked"] = parts[0] + parts[1], parts[0] + parts[2]
    return counts


def judged(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, threat: ThreatModel
) -> tuple[Tensor, Tensor]:
    """(N,) bool, twice: right on the images, and right after AutoAttack at full length as well."""
    if not len(dataset):
        nothing = torch.zeros(0, dtype=torch.bool)
        return nothing, nothing
    rows = attack_model(net, dataset, battery, [ensemble(threat, "full")]).to_pandas()
    rows = rows.sort_values("id")
    clean, after = (
        torch.tensor((rows[name] == rows["y"]).tolist()) for name in ("pred_clean", "pred_pert")
    )
    return clean, clean & after


def _helped(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    threat: ThreatModel,
    search: FriendSearch,
) -> Dataset:
    """The images that a friend hands in: float pixels in [0, 1]."""
    if not len(dataset):
        return dataset
    job = EvalJob.bare(net, dataset, battery)
    with under_test(net, job) as subject:
        check_images(subject, dataset)
        found = [
            robust_friend(
                subject.surrogate,
                x.to(subject.device),
                y.to(subject.device),
                threat=threat,
                search=search,
                noise=job.noise,
                ids=ids,
            ).cpu()
            for ids, x, y in dataset.batches(job.block_size)
        ]
    return replace(dataset, pixels=torch.cat(found), source=replace(dataset.source, levels=1))


def _certified(net: LinfDist, dataset: Dataset, threat: ThreatModel) -> int:
    """Count examples that are right at every point of the ball, by certificate."""
    with eval_mode(net):
        return sum(
            certify(net, x, y, threat=threat).stays_right for _, x, y in dataset.batches(256)
        )
