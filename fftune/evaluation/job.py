"""Evaluation job: a data set and its attacks, cut into block tasks, and the net under test."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from fftune.capture import forget
from fftune.config import BatteryConfig, DefenseConfig, Device, Precision, ThreatModel
from fftune.data import Dataset
from fftune.data.dataset import Batch
from fftune.devices import policy
from fftune.errors import DataError, ModelError
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import Attack, Wanted, attacks_of, tier_of
from fftune.evaluation.certificate import Certificate, behind, refuse_uncertifiable
from fftune.evaluation.defended import CONTROLS, DefenseSet, refuse_misfits
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.stored_forms import StoredForm
from fftune.evaluation.transfer import NamedNet, OtherNet, at_hand, other_nets, transfers
from fftune.keyed_noise import Noise
from fftune.lint.questions import FEW, lint
from fftune.models import (
    adapted,
    device_of,
    eval_mode,
    fits,
    frozen,
    inference_copy,
    placed,
    takes_bf16,
    torch_threads,
    weights_hash,
)
from fftune.training.out_of_memory import room_on
from fftune.user_code import answering

log = logging.getLogger(__name__)

COMPARED = 4
"""Examples on which a net's copies must answer as it does."""
TRIED_ON = 32
"""Examples at which a hedge's gradients are checked before it counts as a defense."""


@dataclass(frozen=True, slots=True)
class BlockTask:
    """One attack on one block of examples: the unit of work."""

    attack: Attack
    rows: tuple[int, ...]
    """Positions in the job's data set."""

    def __str__(self) -> str:
        attack = self.attack
        goal = attack.goal if attack.target is None else f"{attack.goal} at class {attack.target}"
        several = len(attack.stages) > 1 and attack.choice is None
        return f"{attack.name}, goal {goal}" + (f", tier {attack.tier}" if several else "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvalJob:
    """Everything that rows depend on, except the net. It travels to any worker."""

    dataset: Dataset
    dataset_hash: str
    model_hash: str
    battery: BatteryConfig
    """Settings, the size of a block among them; see `sized`."""
    attacks: tuple[Attack, ...]
    defense_set: DefenseSet | None = None
    """Defenses under which every perturbed example is scored too."""
    others: tuple[OtherNet, ...] = ()
    """Nets on which points are crafted that transfer."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        battery: BatteryConfig,
        *,
        model_hash: str,
        threat: ThreatModel,
        attacks: Sequence[Attack] | None = None,
        defense: DefenseConfig | None = None,
        wanted: Wanted | None = None,
        others: Sequence[NamedNet] = (),
    ) -> "EvalJob":
        """Build the job of a battery, or of these `attacks`; a defense adds adaptive ones.

        Args:
            wanted: tells by its name if an attack is run; default all are, and controls always.
            others: nets on which points are crafted, beside those of `battery.transfer`.

        Raises:
            ConfigError, ModelError: a bound behind a defense; a useless net in `battery.transfer`.
        """
        classes = len(dataset.source.classes)
        defense = defense or DefenseConfig()
        offered = tuple(
            attacks or attacks_of(battery, threat, classes=classes, defended=defense.is_any)
        )
        defense_set = DefenseSet.of(
            defense,
            threat,
            source=dataset.source.name,
            split=dataset.split,
            attacks=sum(wanted is None or wanted(one.name) for one in offered),
        )
        offered = tuple(behind(defense_set, attack) for attack in offered)
        crafting = other_nets(battery.transfer, dataset, others)
        # Those that follow from the battery follow from all of it, such as its longest PGD.
        every = (*offered, *transfers(offered, crafting, threat, tier_of(battery)))
        if defense_set is not None:
            every += adaptive_attacks(offered, defense_set, threat)
        taken = (a for a in every if wanted is None or a.name in CONTROLS or wanted(a.name))
        return cls(
            dataset=dataset,
            dataset_hash=dataset.hash(),
            model_hash=model_hash,
            battery=sized(battery),
            attacks=tuple(taken),
            defense_set=defense_set,
            others=crafting,
        )

    @classmethod
    def bare(
        cls,
        net: nn.Module,
        dataset: Dataset,
        battery: BatteryConfig,
        attacks: Sequence[Attack] = (),
        defense_set: DefenseSet | None = None,
    ) -> "EvalJob":
        """Build a job of these attacks alone, without adaptive ones."""
        return cls(
            dataset=dataset,
            dataset_hash=dataset.hash(),
            model_hash=weights_hash(net),
            battery=sized(battery),
            attacks=tuple(attacks),
            defense_set=defense_set,
        )

    @property
    def classes(self) -> int:
        """Number of classes of the data set."""
        return len(self.dataset.source.classes)

    @property
    def block_size(self) -> int:
        """Number of examples of a block."""
        return block_size_of(self.battery)

    @property
    def noise(self) -> Noise:
        """Noise branch of (data set, split), which attackers draw from."""
        return Noise(self.battery.seed).fold(self.dataset.source.name, self.dataset.split)

    def tasks(self, attack: Attack, rows: Tensor | None = None) -> list[BlockTask]:
        """Tasks of an attack on every block.

        Args:
            rows: (N,) int64 positions of the examples to attack; default all.
        """
        rows = torch.arange(len(self.dataset)) if rows is None else rows
        return [BlockTask(attack, tuple(block.tolist())) for block in rows.split(self.block_size)]

    def on(self, device: Device) -> "EvalJob":
        """The same job on a given device, since `auto` may resolve to another one elsewhere."""
        return replace(self, battery=replace(self.battery, device=device))

    def block(self, task: BlockTask) -> Batch:
        """Ids, images and labels of a task's examples."""
        rows = torch.tensor(task.rows, dtype=torch.int64)
        return next(self.dataset.batches(max(len(rows), 1), order=rows))


def sized(battery: BatteryConfig, device: Device | None = None) -> BatteryConfig:
    """The battery with its size of a block: where it says none, what its device wants.

    Args:
        device: on which blocks are attacked, where it is not the battery's, as seen from here.

    Raises:
        ConfigError: CUDA was asked for, and torch sees none.
    """
    return replace(battery, block_size=block_size_of(battery, device))


def block_size_of(battery: BatteryConfig, device: Device | None = None) -> int:
    """Number of examples of a block; see `sized`."""
    if battery.block_size is not None:
        return battery.block_size
    return policy(device or device_of(battery.device)).block_size


@contextmanager
def under_test(net: nn.Module, job: EvalJob) -> Iterator[ModelUnderTest]:
    """Make a net ready to be attacked inside the `with` block; afterwards it is as it was.

    Raises:
        ModelError: see `model_under_test`; or the net ends the program inside the block.
        OutOfMemoryError: the device is too small for the net, or the block of code ran out.
    """
    device, threads = device_of(job.battery.device), job.battery.threads
    with (
        room_on(device),
        answering(),
        eval_mode(net),
        frozen(net),
        placed(net, device),
        at_hand(job.others, device),
        torch_threads(threads),
    ):
        subject = model_under_test(net, job)
        try:
            yield subject
        finally:
            forget_recordings(subject)


def forget_recordings(subject: ModelUnderTest) -> None:
    """Free the memory of everything that a device has recorded of a net and its copies."""
    for net in (subject.net, subject.surrogate, subject.surrogate_lowp, *subject.others.values()):
        forget(net)


def model_under_test(net: nn.Module, job: EvalJob) -> ModelUnderTest:
    """Move a net in eval mode to the battery's device and make the copies that attacks query.

    Raises:
        ModelError: the net does not take the images, or does not return logits for them.
    """
    device = device_of(job.battery.device)
    precision = search_precision(job.battery.precision, device)
    few = next(job.dataset.batches(COMPARED))[1].to(device)
    net = adapted(net.to(device), few)
    surrogate = inference_copy(net, "fp32", few)
    return ModelUnderTest(
        net=net,
        surrogate=surrogate,
        surrogate_lowp=inference_copy(net, precision, few)
        if takes_bf16(net, precision)
        else surrogate,
        classes=job.classes,
        columns={
            "dataset_hash": job.dataset_hash,
            "split": job.dataset.split,
            "model_hash": job.model_hash,
        },
        source=job.dataset.source.name,
        device=device,
        defense_set=job.defense_set,
        stored=tuple(map(StoredForm, job.battery.stored)),
        others={other.name: other.copied(device, few) for other in job.others},
    )


def try_out(subject: ModelUnderTest, job: EvalJob) -> tuple[str, ...]:
    """Check a net before it is attacked: images, labels, gradients and the lint's questions.

    Returns:
        The lint's remarks, a line each, which are also logged.

    Raises:
        ModelError: its `forward` fails, does not return finite logits of the data's classes, or
            an attack or a defense is to follow gradients that it does not have.
        DataError: a label is not one of the classes.
    """
    check_images(subject, job.dataset)
    return lint_model(subject, job)


def check_images(subject: ModelUnderTest, dataset: Dataset) -> None:
    """Query the net with one image and with few, so that misfits are refused in one line.

    Raises:
        ModelError: see `models.fits.check_fit`.
    """
    fits.check_fit(
        subject.net,
        partial(first_images, subject, dataset),
        subject.classes,
        sizes=(1, min(FEW, len(dataset))),
        available=len(dataset),
        data=subject.source,
    )


def lint_model(subject: ModelUnderTest, job: EvalJob) -> tuple[str, ...]:
    """Check labels and gradients, and ask the lint's questions; see `try_out`.

    Before the lint's remarks stands one on what the data's name stands for.
    """
    _check_labels(job)
    for attack in job.attacks:
        if isinstance(attack, Certificate):
            few = first_images(subject, job.dataset, 1)
            refuse_uncertifiable(attack, subject.net, few)
    blind = [attack.name for attack in job.attacks if attack.needs_gradients]
    if blind and not fits.has_gradients(subject.net, first_images(subject, job.dataset, 1)):
        raise ModelError(f"net has no input gradients: {blind[0]} cannot be scored")
    if job.defense_set is not None:
        few = first_images(subject, job.dataset, TRIED_ON)
        refuse_misfits(job.defense_set, subject.net, few, subject.classes)
    remarks = lint(
        subject.net,
        job.dataset,
        threat=job.attacks[0].config.threat if job.attacks else ThreatModel(),
        noise=job.noise,
        device=subject.device,
        follows=any(stage.follows for attack in job.attacks for stage in attack.stages),
        blind=blind[0] if blind else "",
    )
    for remark in remarks:
        log.warning("%s", remark)
    files = [f"data: {job.dataset.origin}"] if job.dataset.origin else []
    return (*files, *map(str, remarks))


def _check_labels(job: EvalJob) -> None:
    y = job.dataset.y
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < job.classes:
        found = f"{int(y.min())} to {int(y.max())}"
        raise DataError(f"labels must be from 0 to {job.classes - 1}, got {found}")


def first_images(subject: ModelUnderTest, dataset: Dataset, count: int) -> Tensor:
    """(count, C, H, W) first images, on the net's device."""
    return next(dataset.batches(count))[1].to(subject.device)


def search_precision(said: Precision, device: str) -> Precision:
    """Precision of searches for a first success: `auto` is what the device's policy says."""
    return policy(device).precision if said == "auto" else said


def precision_of(subject: ModelUnderTest) -> Precision:
    """Precision of the copy that searches for a first success query."""
    return "fp32" if subject.surrogate_lowp is subject.surrogate else "bf16"
