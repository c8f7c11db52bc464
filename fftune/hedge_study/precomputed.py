"""Examples perturbed once, so that each trial of a hedge study pays for its defense alone."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from fftune import __version__
from fftune.attacks import attack_spec
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
from fftune.evaluation.block import searched
from fftune.evaluation.block_cache import ENGINE, identity, judging
from fftune.evaluation.defended import DefenseSet, predict
from fftune.evaluation.job import COMPARED, block_size_of, forget_recordings
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.rows import RowKey, attack_rows
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    frozen,
    inference_copy,
    placed,
    torch_threads,
)
from fftune.models.verdict import in_pieces
from fftune.models.weights import write_plain
from fftune.outcomes import Outcomes
from fftune.storage import in_turn
from fftune.stored_file import reading
from fftune.user_code import answering


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbedSet:
    """Images of a split, and their adversarial and hypocritical perturbations on the bare model."""

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
    """(N, C, H, W) float in [0, 1], as `x` and `x_adv`."""

    def write(self, path: Path) -> None:
        """Write one file, whole or not at all."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        write_plain(fields, path)

    @classmethod
    def read(cls, path: Path) -> "PerturbedSet":
        """Read what `write` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        with reading(path, "perturbed examples", DataError):
            return cls(**torch.load(path, weights_only=True))


def perturb_dataset(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    attack: AttackConfig,
    *,
    model_hash: str,
    access: AdaptiveAccess | None = None,
) -> PerturbedSet:
    """Perturb every example for both goals with one attack, a block at a time.

    Args:
        battery: block size, seed, threads and device; its own attacks are not run.
        access: how adaptive attackers query the model, through a defense; None attacks the bare
            model.
    """
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    stage = AttackStage(config=attack, loss=attack_spec(attack.search).losses[0], access=access)
    name = attack.label if access is None else "aware-hedge"
    adversary = Attack(name=name, goal="adversarial", stages=(stage,))
    friend = replace(adversary, goal="hypocritical")
    blocks = []
    with _opened(net, dataset, battery) as subject:
        for block in dataset.batches(block_size_of(battery)):
            pair = [
                searched(subject, block, attack, noise).x_pert for attack in (adversary, friend)
            ]
            blocks.append((*block, *(x_pert.cpu() for x_pert in pair)))
    ids, x, y, x_adv, x_hyp = (torch.cat(columns) for columns in zip(*blocks, strict=True))
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
    """Prepare a model for attacks while the block runs; afterwards it is as it was."""
    device, threads = device_of(battery.device), battery.threads
    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        few = next(dataset.batches(COMPARED))[1].to(device)
        asked = adapted(net, few)
        surrogate = inference_copy(asked, "fp32", few)
        subject = ModelUnderTest(
            net=asked,
            surrogate=surrogate,
            surrogate_lowp=surrogate,
            classes=len(dataset.source.classes),
            columns={},
            source=dataset.source.name,
            device=device,
            defense_set=_no_defenses(dataset),
        )
        try:
            yield subject
        finally:
            forget_recordings(subject)


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
    """Perturb a data set, or read the result from `folder` where an earlier call left it.

    The name of a file is a hash of all that its content depends on: model, images, attack, block
    size, seed, device, and versions of the code. A second process waits for the first.
    """
    with _opened(net, dataset, battery) as subject:
        code = identity(spec, subject, dataset)
        device = subject.device
    revision = judging(device, defended=False)
    versions = (__version__, torch.__version__, ENGINE, *filter(None, [revision]))
    content = (
        model_hash,
        code,
        dataset.hash(),
        dataset.split,
        config_hash(attack),
        config_hash(battery),
    )
    name = hashlib.sha256(repr((*content, *versions)).encode()).hexdigest()[:16]
    path = folder / f"{name}.pt"
    with in_turn(path):
        if path.exists():
            return PerturbedSet.read(path)
        perturbed = perturb_dataset(net, dataset, battery, attack, model_hash=model_hash)
        perturbed.write(path)
    return perturbed


def defended_rows(
    net: nn.Module,
    perturbed: PerturbedSet,
    config: HedgeConfig,
    *,
    battery: BatteryConfig,
    seed: int = 0,
) -> Outcomes:
    """Compute rows of a defended model on perturbed examples.

    `pred_clean_defended` is its prediction on the clean image with the same draw, `pred_clean`
    that of the bare model, and `model_hash` names model and defense. Examples perturbed without
    knowledge of the defense overrate it: a front of them ranks settings, and proves none.
    """
    bare, clean, adv, hyp = _predictions(net, perturbed, Hedge(config=config), battery, seed)
    passes = torch.tensor((config.steps + 1, config.steps, 1))
    goals: tuple[tuple[Goal, Tensor, Tensor], ...] = (
        ("adversarial", perturbed.x_adv, adv),
        ("hypocritical", perturbed.x_hyp, hyp),
    )
    return Outcomes.of(
        attack_rows(
            RowKey(
                dataset_hash=perturbed.dataset_hash,
                split=perturbed.split,
                model_hash=f"{perturbed.model_hash}+{config_hash(config)}",
                attack=perturbed.attack,
                config_hash=perturbed.attack_hash,
                norm=perturbed.norm,
                eps=perturbed.eps,
                goal=goal,
                seed=seed,
                defense=name_of(config),
            ),
            ids=perturbed.ids,
            y=perturbed.y,
            label=perturbed.y,
            x=perturbed.x,
            x_pert=x_pert,
            pred_clean=bare,
            pred_clean_defended=clean,
            pred_pert=pred,
            counts=passes[:, None].expand(3, len(clean)),
        )
        for goal, x_pert, pred in goals
    )


def _predictions(
    net: nn.Module, perturbed: PerturbedSet, defense: Hedge, battery: BatteryConfig, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Predict (N,) classes: bare on clean images, defended on clean, adversarial, hypocritical."""
    noise = Noise(seed).fold("defense", perturbed.source, perturbed.split, 0)
    device, size = device_of(battery.device), block_size_of(battery)
    defended = partial(predict, defense=defense)
    threads = battery.threads
    with answering(), eval_mode(net), frozen(net), placed(net, device), torch_threads(threads):
        net = adapted(net, perturbed.x[:COMPARED].to(device))
        ask = in_pieces(net)
        with torch.no_grad():
            bare = [ask(x.to(device)).argmax(1).cpu() for x in perturbed.x.split(size)]
        clean, adv, hyp = (
            [
                defended(net, x.to(device), noise=ExampleNoise(noise, ids)).cpu()
                for x, ids in zip(images.split(size), perturbed.ids.split(size), strict=True)
            ]
            for images in (perturbed.x, perturbed.x_adv, perturbed.x_hyp)
        )
    return torch.cat(bare), torch.cat(clean), torch.cat(adv), torch.cat(hyp)


def name_of(config: HedgeConfig) -> str:
    """Name of a defense in rows, by what its settings amount to."""
    if not config.eps_d:
        return "none"
    if not config.steps:
        return "random"
    return "hedge" if config.classes == "all" else "hedge_one_class"


def _no_defenses(dataset: Dataset) -> DefenseSet:
    """Empty set of defenses, none of whose draws is leaked to attackers."""
    noise = Noise(0).fold("nobody", dataset.source.name)
    return DefenseSet(defenses={}, repeats=1, control=1, noise=noise, draws=1)
