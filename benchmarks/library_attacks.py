"""Attacks of ours and of three other libraries, called alike, at their published lengths.

Left out are attacks in other norms (ALMA, DDN, C&W, VFGA), and torchattacks' AutoAttack, which is
four of the attacks below in a fixed order. A library that is not installed is passed over.
"""

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import rivals
from rivals import CLASSES, THREAT
from torch import Tensor, nn

from fftune.attacks.goals import is_toward
from fftune.config import AttackConfig, Goal, Loss, Tier
from fftune.evaluation.batteries import Attack, ensemble, hypocritical, single
from fftune.evaluation.block import searched
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.keyed_noise import Noise

Run = Callable[[nn.Module, Tensor, Tensor, Tensor, int], Tensor]
"""(net, x, y, ids, seed) to the points handed over."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """Attack of a library."""

    library: str
    name: str
    run: Run
    seeded: bool = True
    """False: it draws nothing at random, or is so long that one seed has to do."""


def members(goal: Goal) -> tuple[Member, ...]:
    """Attacks of every library that is installed, for one goal."""
    return (*ours(goal), *_tiers(goal), *_torchattacks(goal), *_adv_lib(goal), *_foolbox(goal))


def ours(goal: Goal) -> tuple[Member, ...]:
    """Searches of ours, each of which leaves an image with its first success."""
    pgd = AttackConfig(threat=THREAT, steps=20, protocol="first_success")
    apgd = replace(pgd, search="apgd", steps=100)
    fab = replace(pgd, search="fab", steps=100, targets=CLASSES - 1, start="none")
    nearest = {"steps": 50, "targets": CLASSES - 1, "start": "none"}
    deepfool = AttackConfig(threat=THREAT, search="deepfool", **nearest)
    square = replace(pgd, search="square", steps=5000, start="none")
    searches: dict[str, tuple[AttackConfig, Loss, bool]] = {
        "PGD-20": (pgd, "ce", True),
        "C&W-20": (replace(pgd, search="cw"), "margin", True),
        "APGD-CE": (apgd, "ce", True),
        "APGD-DLR": (apgd, "dlr", True),
        "APGD-margin": (apgd, "margin", True),
        "FAB": (fab, "margin", False),
        "DeepFool-50": (deepfool, "margin", False),
        "Square": (square, "margin", False),
    }
    if goal == "adversarial":
        searches["APGD-T"] = (replace(apgd, targets=CLASSES - 1), "dlr", True)
    return tuple(
        Member(library="ours", name=name, run=_search(config, loss, goal), seeded=seeded)
        for name, (config, loss, seeded) in searches.items()
    )


def _search(config: AttackConfig, loss: Loss, goal: Goal) -> Run:
    return _attack(single("search", goal, loss, config))


def _tiers(goal: Goal) -> tuple[Member, ...]:
    """Ensembles as the batteries have them, without the canary."""
    tiers: tuple[Tier, ...] = ("screen", "escalating")
    each = {
        tier: hypocritical(THREAT, tier)[-1] if is_toward(goal) else ensemble(THREAT, tier)
        for tier in tiers
    }
    return tuple(
        Member(library=f"ours, {tier}", name="ensemble", run=_attack(attack))
        for tier, attack in each.items()
    )


def _attack(attack: Attack) -> Run:
    """The attack as evaluations run it: verdicts between stages are not passes of a search."""
    columns = {"dataset_hash": "", "split": "", "model_hash": ""}

    def run(net: Any, x: Tensor, y: Tensor, ids: Tensor, seed: int) -> Tensor:
        subject = ModelUnderTest(
            net=net.verdict, surrogate=net, surrogate_lowp=net, classes=CLASSES, columns=columns
        )
        return searched(subject, (ids, x, y), attack, Noise(seed)).x_pert

    return run


def _torchattacks(goal: Goal) -> tuple[Member, ...]:
    if not _has("torchattacks"):
        return ()

    def made(make: Callable[[nn.Module, int], Any], *, targeted: bool = False) -> Run:
        def run(net: nn.Module, x: Tensor, y: Tensor, _ids: Tensor, seed: int) -> Tensor:
            attack = make(net, seed)
            if targeted:
                with contextlib.redirect_stdout(io.StringIO()):
                    attack.set_mode_targeted_by_function(lambda _, labels: labels)
            found: Tensor = attack(x, y)
            return found

        return run

    def pgd(steps: int) -> Callable[[nn.Module, int], Any]:
        length = {"eps": THREAT.eps, "alpha": THREAT.eps / 4, "steps": steps}
        return lambda net, _: rivals.rivals().PGD(net, **length)

    if is_toward(goal):
        runs = {
            "PGD-20": made(pgd(20), targeted=True),
            "PGD-100": made(pgd(100), targeted=True),
            "Square": made(rivals.SQUARE, targeted=True),
        }
    else:
        runs = {
            "PGD-20": made(pgd(20)),
            "APGD-CE": made(rivals.APGD_CE),
            "APGD-T": made(rivals.APGD_T),
            "FAB-T": made(rivals.FAB_T),
            "Square": made(rivals.SQUARE),
        }
    once = ("FAB-T", "Square")
    return tuple(
        Member(library="torchattacks", name=name, run=run, seeded=name not in once)
        for name, run in runs.items()
    )


def _adv_lib(goal: Goal) -> tuple[Member, ...]:
    if not _has("adv_lib"):
        return ()
    # It imports visdom for plots that nobody asks for here.
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))
    lib, eps, inf = importlib.import_module("adv_lib.attacks"), THREAT.eps, float("inf")
    targeted = is_toward(goal)

    def called(attack: Callable[..., Tensor], *radius: Any, **settings: Any) -> Run:
        def run(net: nn.Module, x: Tensor, y: Tensor, _ids: Tensor, _seed: int) -> Tensor:
            return attack(net, x, y, *radius, **settings)

        return run

    apgd = {"norm": inf, "targeted": targeted, "n_iter": 100}
    runs = {
        "PGD-40": called(lib.pgd_linf, eps, targeted=targeted, loss_function="dl"),
        "APGD-CE": called(lib.apgd, eps, **apgd, loss_function="ce"),
        "APGD-DLR": called(lib.apgd, eps, **apgd, loss_function="dlr"),
        "FMN-100": called(lib.fmn, inf, targeted=targeted, steps=100),
    }
    if not targeted:
        runs["APGD-T"] = called(lib.apgd_targeted, eps, norm=inf, n_iter=100)
        runs["FAB-T"] = called(lib.fab, inf, n_iter=100, targeted_restarts=True)
        runs["TR-100"] = called(lib.tr, p=inf, iter=100)
    once = ("FMN-100", "FAB-T", "TR-100")
    return tuple(
        Member(library="adv-lib", name=name, run=run, seeded=name not in once)
        for name, run in runs.items()
    )


def _foolbox(goal: Goal) -> tuple[Member, ...]:
    if not _has("foolbox"):
        return ()
    import foolbox
    from foolbox import attacks

    made: dict[str, tuple[Any, bool]] = {
        "PGD-40": (attacks.LinfProjectedGradientDescentAttack(), True),
        "PGD-100": (attacks.LinfProjectedGradientDescentAttack(steps=100), True),
        "FMN-100": (attacks.LInfFMNAttack(steps=100), False),
    }
    if goal == "adversarial":
        made["DeepFool-50"] = (attacks.LinfDeepFoolAttack(steps=50), False)

    def run_with(attack: Any) -> Run:
        def run(net: nn.Module, x: Tensor, y: Tensor, _ids: Tensor, _seed: int) -> Tensor:
            model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
            friend = is_toward(goal)
            wanted = (
                foolbox.TargetedMisclassification(y) if friend else foolbox.Misclassification(y)
            )
            radius = {"epsilon": THREAT.eps} if hasattr(attack, "rel_stepsize") else {}
            found: Tensor = attack.run(model, x, wanted, **radius)
            return found

        return run

    return tuple(
        Member(library="foolbox", name=name, run=run_with(attack), seeded=seeded)
        for name, (attack, seeded) in made.items()
    )


def missing() -> Sequence[str]:
    """Libraries of the comparison that are not installed."""
    return [name for name in ("torchattacks", "adv_lib", "foolbox") if not _has(name)]


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
