"""Changed training data: the substandard ones of Tao et al. 2022, 3.2 and A.3, and helped ones.

`noise` replaces images by uniform noise, `mislabeling` labels by random ones; `poisoning` perturbs
images so that a naturally trained net takes them for another class. Nets trained
on such data make many mistakes, and hypocritical examples conceal them. `helped` perturbs images
towards their own class, so that they are easier for that net (error-minimising noise, as in Huang
et al. 2021, on a net that stays as it is). Ids are the parent's. Only
what trains changes: the parent's own part is kept beside the copy, to validate and test on.
"""

import json
import logging
from dataclasses import asdict, dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from fftune.attacks import pgd
from fftune.config import (
    PERTURBED,
    AttackConfig,
    Constants,
    ThreatModel,
    substandard_name,
    told_radius,
)
from fftune.data.beton.manifest import Made
from fftune.data.dataset import Dataset
from fftune.data.images import Array, Frame
from fftune.data.official_split import OfficialSplit
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise
from fftune.models import eval_mode, weights_hash
from fftune.models.fits import check_fit
from fftune.user_code import answering

log = logging.getLogger(__name__)
Kind = Literal["noise", "mislabeling", "poisoning", "helped"]
BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstandardRecipe:
    """Settings of making a data set substandard."""

    kind: Kind
    seed: int = 0
    threat: ThreatModel
    """Ball of perturbations; see `default_eps` for the paper's."""
    constants: Constants = "paper"
    """Source of constants: the authors' `code` starts the search for a poison at the image itself,
    and truncates to whole levels of a pixel."""


def made_of(
    part: OfficialSplit,
    recipe: SubstandardRecipe,
    net: nn.Module | None = None,
    *,
    frame: Frame | None = None,
) -> tuple[OfficialSplit, Made]:
    """The substandard copy of a part, called `train`, and what made it.

    Args:
        frame: cuts photographs of several sizes alike before they are changed.
        net: naturally trained on the parent, takes images in [0, 1]; for poisoning and helped
            alone.

    Raises:
        ConfigError: perturbations without a net, a net without them, or none that changes a pixel.
        ModelError: the net does not fit the data.
    """
    if (net is not None) != (recipe.kind in PERTURBED):
        needs = "needs a net" if net is None else "needs no net"
        raise ConfigError(f"net: {recipe.kind} {needs}")
    data = part.framed(frame).read(torch.arange(len(part)), "train")
    noise = Noise(recipe.seed).fold(recipe.kind, data.source.name)
    pixels, y, settings = data.pixels, data.y, asdict(recipe)
    if recipe.kind == "noise":
        pixels = uniform_pixels(data, noise)
    elif recipe.kind == "mislabeling":
        y = random_labels(data, noise)
    elif net is not None:
        attack = poison_attack(recipe)
        with answering():
            _check_fit(net, data)
            pixels = perturbed(data, net, attack, noise, recipe)
        settings["attack"] = asdict(attack)
    made = Made(
        kind=recipe.kind,
        parent=data.hash(),
        seed=recipe.seed,
        constants=recipe.constants,
        settings=json.dumps(settings, sort_keys=True),
        net=None if net is None else weights_hash(net),
    )
    images = Array(data.source.name, pixels.permute(0, 2, 3, 1).contiguous().numpy(), frame)
    name = substandard_name(part.source.name, recipe.kind, recipe.threat.norm)
    source = replace(part.source, name=name)
    return OfficialSplit(source=source, name="train", y=y, images=images, ids=data.ids), made


def uniform_pixels(data: Dataset, noise: Noise) -> Tensor:
    """(N, C, H, W) uint8, every level equally likely."""
    drawn = [
        (noise.uniform(ids, data.shape) * (data.source.levels + 1)).to(torch.uint8)
        for ids in data.ids.split(BATCH)
    ]
    return torch.cat(drawn)


def random_labels(data: Dataset, noise: Noise) -> Tensor:
    """(N,) int64, every class equally likely, the true one among them."""
    classes = len(data.source.classes)
    return (noise.uniform(data.ids, (1,)).flatten().to(torch.float64) * classes).to(torch.int64)


def targets(y: Tensor, classes: int, kind: Kind = "poisoning") -> Tensor:
    """Classes that perturbations aim at: of a help the own, of a poison the next.

    The next is a fixed permutation without fixed point, as in the authors' code.
    """
    return y if kind == "helped" else (y + 1) % classes


def poison_attack(recipe: SubstandardRecipe) -> AttackConfig:
    """PGD, 100 steps of eps / 5 (A.3)."""
    return AttackConfig(
        threat=recipe.threat,
        steps=100,
        step_size=recipe.threat.eps / 5,
        start="none" if recipe.constants == "code" else "uniform",
    )


def perturbed(
    data: Dataset, net: nn.Module, attack: AttackConfig, noise: Noise, recipe: SubstandardRecipe
) -> Tensor:
    """(N, C, H, W) uint8 that `net` takes for its target; `stored` says how near the ball.

    Raises:
        ConfigError: no pixel changed, as the radius is below half a level of them.
    """
    crafted, hits, levels, device = [], 0, data.source.levels, _device_of(net)
    for rows in torch.arange(len(data)).split(BATCH):
        pixels, ids = data.pixels[rows].to(device), data.ids[rows].to(device)
        y = data.y[rows].to(device)
        x, t = pixels / levels, targets(y, len(data.source.classes), recipe.kind)
        with eval_mode(net):
            x_pert = pgd(net, x, t, config=attack, goal="targeted", loss="ce", noise=noise, ids=ids)
            made = stored(x_pert, pixels, attack.threat, levels, recipe.constants)
            crafted.append(made.cpu())
            with torch.no_grad():
                hits += int((net(made / levels).argmax(1) == t).sum())
        log.info(
            "%s: %d of %d, %d taken for the target", recipe.kind, rows[-1] + 1, len(data), hits
        )
    found = torch.cat(crafted)
    _check_changed(found, data, recipe)
    return found


def _check_changed(found: Tensor, data: Dataset, recipe: SubstandardRecipe) -> None:
    threat, same = recipe.threat, int((found == data.pixels).flatten(1).all(1).sum())
    if same == len(data):
        levels = f"{data.source.levels + 1} levels of a pixel"
        raise ConfigError(
            f"threat.eps: {threat.norm} with eps {told_radius(threat.eps)} changes no pixel of "
            f"{data.source.name!r}, which has {levels}: a larger one makes a perturbation"
        )
    if same:
        log.warning("%s: %d of %d images stay as they were", recipe.kind, same, len(data))


def stored(
    x_pert: Tensor, pixels: Tensor, threat: ThreatModel, levels: int, constants: Constants
) -> Tensor:
    """(B, C, H, W) uint8 of a poison: `rounded` inside the ball, or as the authors' code does it.

    That truncates, which may lead out of the ball: by a level where a float lies just below its
    own, and by more for l2, as every pixel becomes darker.
    """
    if constants == "code":
        return (x_pert * levels).to(torch.uint8)
    return rounded(x_pert, pixels, threat, levels)


def rounded(x_pert: Tensor, pixels: Tensor, threat: ThreatModel, levels: int) -> Tensor:
    """(B, C, H, W) uint8 near `x_pert` that does not leave the ball around `pixels`.

    Rounding alone lengthens an l2 perturbation of 0.5 on CIFAR-10 by about 1 %: it is shortened
    until what is left of it after rounding fits.
    """
    delta, reach = x_pert * levels - pixels, threat.eps * levels
    if threat.norm == "linf":
        # 8 / 255 * 255 may come out as 7.999...: the ball's own edge belongs to it.
        steps = delta.round().clamp(-int(reach + 1e-6), int(reach + 1e-6))
    else:
        steps = delta.round()
        while (outside := steps.flatten(1).to(torch.float64).norm(dim=1) > reach).any():
            delta = torch.where(outside.view(-1, 1, 1, 1), delta * 0.999, delta)
            steps = delta.round()
    return (pixels + steps).clamp(0, levels).to(torch.uint8)


def _check_fit(net: nn.Module, data: Dataset) -> None:
    with eval_mode(net):
        check_fit(
            net,
            lambda count: data.pixels[:count].to(_device_of(net)) / data.source.levels,
            len(data.source.classes),
            sizes=(min(2, len(data)),),
            available=len(data),
            data=data.source.name,
        )


def _device_of(net: nn.Module) -> torch.device:
    return next((p.device for p in net.parameters()), torch.device("cpu"))
