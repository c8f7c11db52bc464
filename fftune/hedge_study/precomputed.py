"""Examples crafted once, so that each trial of a hedge sweep pays for its defence alone."""

import hashlib
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fftune import __version__
from fftune.attacks import attack_spec, success
from fftune.config import (
    AttackConfig,
    BatteryConfig,
    Goal,
    HedgeConfig,
    ModelSpec,
    Norm,
    config_hash,
)
from fftune.data import Dataset
from fftune.defenses import AdaptiveAccess, Hedge
from fftune.errors import DataError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import ModelUnderTest, searched
from fftune.evaluation.block_cache import ENGINE, identity
from fftune.evaluation.defended import DefenseSet, predict
from fftune.evaluation.job import COMPARED
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    frozen,
    inference_copy,
    placed,
    torch_threads,
)
from fftune.models.weights import write_plain
from fftune.outcomes import Outcomes, rows
from fftune.registry import label
from fftune.storage import in_turn
from fftune.threat import distance
from fftune.user_code import answering


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbedSet:
    """A split, and what an adversary and a false friend made of it on the bare net."""

    source: str
    split: str
    dataset_hash: str
    model_hash: str
    attack: str
    attack_hash: str
    norm: Norm
    eps: float
    ids: Tensor
    y: Tensor
    x: Tensor
    x_adv: Tensor
    x_hyp: Tensor
    """(N, C, H, W) each."""

    def write(self, path: Path) -> None:
        """One file, whole or not at all."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        write_plain(fields, path)

    @classmethod
    def read(cls, path: Path) -> "PerturbedSet":
        """What `write` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            return cls(**torch.load(path, weights_only=True))
        except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"crafted examples {str(path)!r} cannot be read: {reason}") from None


def perturb_dataset(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    attack: AttackConfig,
    *,
    model_hash: str,
    access: AdaptiveAccess | None = None,
) -> PerturbedSet:
    """Both goals on every example, with one attack, a block at a time.

    Args:
        battery: how it is run; its own attacks are not asked.
        access: how adaptive attackers query the net, through a defence.
    """
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    part = AttackStage(config=attack, loss=attack_spec(attack.search).losses[0])
    name = f"{label(attack.search)}-{attack.steps}" if access is None else "aware-hedge"
    adversary = Attack(name=name, goal="adversarial", stages=(part,), access=access)
    friend = replace(adversary, goal="hypocritical")
    blocks = []
    with _opened(net, dataset, battery) as subject:
        for block in dataset.batches(battery.block_size):
            pair = [
                searched(subject, block, attack, noise).x_pert for attack in (adversary, friend)
            ]
            blocks.append((*block, *(x_pert.cpu() for x_pert in pair)))
    ids, x, y, x_adv, x_hyp = (torch.cat(stages) for stages in zip(*blocks, strict=True))
    return PerturbedSet(
        source=dataset.source.name,
        split=dataset.split,
        dataset_hash=dataset.hash(),
        model_hash=model_hash,
        attack=name,
        attack_hash=config_hash(attack if access is None else adversary),
        norm=attack.threat.norm,
        eps=attack.threat.eps,
        ids=ids,
        y=y,
        x=x,
        x_adv=x_adv,
        x_hyp=x_hyp,
    )


@contextmanager
def _opened(net: nn.Module, dataset: Dataset, battery: BatteryConfig) -> Iterator[ModelUnderTest]:
    """The net, ready to be attacked while the block of code runs; then it is as it was."""
    device, threads = device_of(battery.device), battery.threads
    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        few = next(dataset.batches(COMPARED))[1].to(device)
        asked = adapted(net, few)
        surrogate = inference_copy(asked, "fp32", few)
        yield ModelUnderTest(
            net=asked,
            surrogate=surrogate,
            surrogate_lowp=surrogate,
            classes=len(dataset.source.classes),
            columns={},
            source=dataset.source.name,
            device=device,
            defense_set=_nobody(dataset),
        )


def perturbed_once(
    folder: Path,
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    attack: AttackConfig,
    *,
    model_hash: str,
    spec: ModelSpec,
) -> PerturbedSet:
    """What `perturb_dataset` gives, read from `folder` if it was crafted there before.

    A file is named by all that its content depends on: net, images, attack, how it is run, and
    the versions of the code. Whoever comes second waits for the first.
    """
    with _opened(net, dataset, battery) as subject:
        who = identity(spec, subject, dataset)
    versions = (__version__, torch.__version__, ENGINE)
    what = (
        model_hash,
        who,
        dataset.hash(),
        dataset.split,
        config_hash(attack),
        config_hash(battery),
    )
    name = hashlib.sha256(repr((*what, *versions)).encode()).hexdigest()[:16]
    path = folder / f"{name}.pt"
    with in_turn(path):
        if path.exists():
            return PerturbedSet.read(path)
        crafted = perturb_dataset(net, dataset, battery, attack, model_hash=model_hash)
        crafted.write(path)
    return crafted


def defended_rows(
    net: nn.Module,
    crafted: PerturbedSet,
    config: HedgeConfig,
    *,
    battery: BatteryConfig,
    seed: int = 0,
) -> Outcomes:
    """Rows of the net behind a defence, which is the net that is judged.

    So `pred_clean_defended` is what it says of the clean image behind that same draw, and
    `model_hash` names both; `pred_clean` is the bare net's. Where attackers do not know the
    defence, the figures flatter it: a front of them ranks settings, it does not prove any.
    """
    noise = Noise(seed).fold("defense", crafted.source, crafted.split, 0)
    defense = Hedge(config=config)
    device, threads = device_of(battery.device), battery.threads

    def said(inputs: Tensor) -> Tensor:
        size = battery.block_size
        blocks: Sequence[tuple[Tensor, Tensor]] = [
            *zip(inputs.split(size), crafted.ids.split(size), strict=True)
        ]
        preds = [
            predict(net, x.to(device), surrogate=surrogate, defense=defense, noise=noise, ids=ids)
            for x, ids in blocks
        ]
        return torch.cat(preds).cpu()

    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        few = crafted.x[:COMPARED].to(device)
        net = adapted(net, few)
        surrogate = inference_copy(net, "fp32", few)
        clean, adv, hyp = (said(x) for x in (crafted.x, crafted.x_adv, crafted.x_hyp))
        with torch.no_grad():
            bare = [net(x.to(device)).argmax(1).cpu() for x in crafted.x.split(battery.block_size)]
    shared = {
        "dataset_hash": crafted.dataset_hash,
        "split": crafted.split,
        "id": crafted.ids.numpy(),
        "model_hash": f"{crafted.model_hash}+{config_hash(config)}",
        "attack": crafted.attack,
        "config_hash": crafted.attack_hash,
        "norm": crafted.norm,
        "eps": crafted.eps,
        "seed": seed,
        "restart": 0,
        "protocol": "fixed",
        "tier": "full",
        "defense": name_of(config),
        "defense_repeat": 0,
        "y": crafted.y.numpy(),
        "pred_clean": torch.cat(bare).numpy(),
        "pred_clean_defended": clean.numpy(),
        "queries": 1,
        "forwards": config.steps + 1,
        "backwards": config.steps,
        "status": "ok",
    }

    def of(goal: Goal, x_pert: Tensor, pred: Tensor) -> Any:
        return shared | {
            "goal": goal,
            "target": crafted.y.numpy() if goal == "hypocritical" else -1,
            "pred_pert": pred.numpy(),
            "success": success(goal, pred, clean, crafted.y).numpy(),
            "distance": distance(x_pert, crafted.x, crafted.norm).numpy(),
        }

    goals = (of("adversarial", crafted.x_adv, adv), of("hypocritical", crafted.x_hyp, hyp))
    return Outcomes.of(rows(len(clean), columns) for columns in goals)


def name_of(config: HedgeConfig) -> str:
    """What a hedge comes to, as rows call it."""
    if not config.eps_d:
        return "none"
    if not config.steps:
        return "random"
    return "hedge" if config.classes == "all" else "hedge_one_class"


def _nobody(dataset: Dataset) -> DefenseSet:
    """A guard that gives away nothing: attackers draw noise of their own."""
    noise = Noise(0).fold("nobody", dataset.source.name)
    return DefenseSet(defenses={}, repeats=1, control=1, noise=noise, draws=1)
