"""Costs of tasks before they run: passes, operations and bytes, without any data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial

import torch

from fftune.config import (
    BatteryConfig,
    InputSpec,
    OptimizerConfig,
    Phase,
    TrainConfig,
)
from fftune.defenses import Defense
from fftune.errors import ModelError
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.cost import attack_work
from fftune.evaluation.defended import CLEAN, CONTROLS, DefenseSet
from fftune.models import make_model
from fftune.models.published_nets import CLASSES, LAYOUTS
from fftune.models.specs import OURS, ROBUSTBENCH
from fftune.papers.declarations import Analysis, Exam, Net, Substandard
from fftune.papers.scales import REPEATS, behind, config_of, examples_of, images_of
from fftune.papers.tasks import Task, ball_for, images_for, runs
from fftune.papers.zoo import ZooNet
from fftune.recipes import Scale
from fftune.registry import DATASETS
from fftune.training.cost import Work, per_example
from fftune.training.flops import Flops, count, flops_of
from fftune.training.phases import phases_of

SHAPES: dict[str, tuple[int, int, int]] = {
    "digits": (1, 8, 8),
    "digits-negatives": (1, 8, 8),
    "digits-rotated": (1, 8, 8),
    "digits-enlarged": (1, 32, 32),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "svhn": (3, 32, 32),
    "tiny-imagenet": (3, 64, 64),
    "imagenet": (3, 288, 288),
}
"""(C, H, W) of the images of the papers' data sets, and of those that stand for them."""
MISTAKEN = 0.3
"""Share of the images that a false friend for mistakes alone attacks, roughly."""
POISON_STEPS = 100
"""Steps of a poison (Tao et al. 2022, A.3)."""
LOOKS = 300
"""Forward passes of an image in an analysis, roughly: nobody counts what its function does."""
LONG = {"ablation": 2000, "fake": 22_000}
"""The same of 5 attacks and some 25 hedges, and of AutoAttack twice with 20 x 10 steps between."""
DISTANCE = 40
"""Operations of a weight of a net of distances, roughly: powers cost more than products."""
TYPICAL = "wrn28_10"
"""Net that stands for published ones which only a package of others, or of the user's, builds."""
ROW = 12.0
"""Bytes of a row in a file, roughly, of which its block takes as many until all rows are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Work of one net on images of one size."""

    config: TrainConfig
    """The net, its precisions and its batch; of an evaluation, those of its training."""
    each: Flops
    training: Work = field(default_factory=Work)
    evaluation: Work = field(default_factory=Work)

    @property
    def tera(self) -> float:
        """Operations, in units of 10^12."""
        both, each = self.training + self.evaluation, self.each
        joint = self.training.joints * each.joint
        return (both.forwards * each.forward + both.crafts * each.craft + joint) / 1e12

    @property
    def calls(self) -> float:
        """Calls of the net, each with a batch."""
        return (self.training + self.evaluation).passes.forwards / self.config.optimizer.batch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a task."""

    loads: tuple[Load, ...] = ()
    bytes: int = 0
    """Bytes that it leaves on the disk."""
    meanwhile: int = 0
    """Bytes that it takes while it runs, and gives back."""

    @property
    def tera(self) -> float:
        """Operations, in units of 10^12."""
        return sum(load.tera for load in self.loads)

    @property
    def calls(self) -> float:
        """Calls of a net."""
        return sum(load.calls for load in self.loads)


def cost_of(task: Task) -> Cost:
    """The cost of a task, as if nothing of it was done before."""
    need, scale = task.need, task.scale
    if isinstance(need, Net):
        return _training(config_of(need, scale))
    if isinstance(need, Substandard):
        return _writing(need, task)
    return _evaluation(need, scale) if isinstance(need, Exam) else _analysis(need, scale)


def trained_on(config: TrainConfig) -> int:
    """Number of training examples, which a set that is absent has officially."""
    return config.data.train_size or _official(config.data.name, "train")


def inputs_of(name: str) -> InputSpec:
    """Inputs of a net for a data set, or for a substandard one that is made of it."""
    name = parent_of(name)
    spec, shape = DATASETS[name], SHAPES[name]
    mean = tuple(spec.mean) or (0.5,) * shape[0]
    std = tuple(spec.std) or (0.5,) * shape[0]
    return InputSpec(shape=shape, classes=spec.classes, mean=mean, std=std)


def parent_of(name: str) -> str:
    """The data set that a substandard one, or one of FastAT's phases, is made of."""
    return max((known for known in SHAPES if name.startswith(known)), key=len)


def _training(config: TrainConfig) -> Cost:
    each_example, examples = per_example(config), trained_on(config)
    epochs = bool(config.optimizer.epochs)
    loads = tuple(
        Load(
            config=replace(config, phases=(), optimizer=_batches(config, phase.batch_size)),
            each=_size(config, _inputs(config, phase)).flops,
            training=each_example * (epochs * phase.epochs * examples),
        )
        for phase in phases_of(config)
    )
    weights = 4 * _size(config, inputs_of(config.data.name)).parameters
    return Cost(loads=loads, bytes=weights + 2**15, meanwhile=4 * weights)


def _batches(config: TrainConfig, size: int) -> OptimizerConfig:
    return replace(config.optimizer, batch_size=size, schedule="one_cycle", knots=(), milestones=())


def _inputs(config: TrainConfig, phase: Phase) -> InputSpec:
    inputs = inputs_of(config.data.name)
    if phase.resized_crop is None:
        return inputs
    return replace(inputs, shape=(inputs.shape[0], phase.resized_crop, phase.resized_crop))


def _writing(need: Substandard, task: Task) -> Cost:
    images = images_of(need.data, need.model, task.scale)
    shape = SHAPES[images.name]
    examples = _official(images.name, "train")
    kept = 2 * examples * shape[0] * shape[1] * shape[2]
    kept += _official(images.name, "test") * shape[0] * shape[1] * shape[2]
    nets = [one.need for one in task.needs if isinstance(one.need, Net)]
    work = Work(crafts=POISON_STEPS, forwards=1) * examples
    loads = tuple(_judged(net, work, task.scale) for net in nets)
    return Cost(loads=loads, bytes=kept, meanwhile=kept)


def _evaluation(need: Exam, scale: Scale) -> Cost:
    name = images_for(need.net, scale).name
    attacks, defenses = _attacks(need, scale, inputs_of(name).classes)
    examples = examples_of(need.size, scale) or _official(name, need.split)
    behind = Work()
    for defense in defenses:
        behind += Work(forwards=1, crafts=defense.passes)
    work, rows = Work(), 0.0
    for attack in attacks:
        taken = round(examples * (1.0 if attack.scope == "all" else MISTAKEN))
        draws = 2 * REPEATS if attack.name == CLEAN else REPEATS
        work += (attack_work(attack) + behind * draws) * taken
        rows += taken * (1 + draws * len(defenses))
    size = round(ROW * rows) + 2**13
    return Cost(loads=(_judged(need.net, work, scale),), bytes=size, meanwhile=2 * size)


def _attacks(need: Exam, scale: Scale, classes: int) -> tuple[list[Attack], list[Defense]]:
    """Attacks of an evaluation, and the defenses behind which all is scored."""
    threat = ball_for(need.net, need.norm, scale, need.eps)
    attacks = list(attacks_of(BatteryConfig(name=need.battery), threat, classes=classes))
    if not need.defenses:
        return [one for one in attacks if runs(need, one.name)], []
    config = behind(need.defenses)
    among = DefenseSet.of(config, threat, source="", split="", attacks=len(attacks))
    assert among is not None  # defenses are named
    attacks += adaptive_attacks(attacks, among, threat)
    taken = [one for one in attacks if one.name in CONTROLS or runs(need, one.name)]
    return taken, list(among.defenses.values())


def _analysis(need: Analysis, scale: Scale) -> Cost:
    looks = LONG.get(need.run.partition(":")[2], LOOKS)
    loads = []
    for net in need.nets:
        examples = examples_of(need.size, scale) or _official(images_for(net, scale).name, "test")
        loads.append(_judged(net, Work(forwards=looks) * examples, scale))
    return Cost(loads=tuple(loads), bytes=2**18)


def _judged(net: Net | ZooNet, work: Work, scale: Scale) -> Load:
    """Work that is asked of a net; of a published one at the rates of our own on its data."""
    if isinstance(net, ZooNet):
        config = config_of(Net(data=net.data), "full")
        return Load(config=config, each=_published(net).flops, evaluation=work)
    config = config_of(net, scale)
    each = _size(config, inputs_of(config.data.name)).flops
    return Load(config=config, each=each, evaluation=work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    flops: Flops
    parameters: int


def _size(config: TrainConfig, inputs: InputSpec) -> _Size:
    return _size_of(config.model, config.width, inputs)


def weights_of(net: ZooNet) -> int:
    """Bytes of the weights of a published net, roughly."""
    return 4 * _published(net).parameters


def _published(net: ZooNet) -> _Size:
    """The size of a published net; of one that is not built here as of a WideResNet-28-10."""
    inputs = inputs_of(net.data)
    place = net.factory.removeprefix(ROBUSTBENCH)
    if place in LAYOUTS:
        return _size_of_layout(place, inputs)
    known = net.factory.startswith(OURS)
    return _size_of(net.factory.removeprefix(OURS) if known else TYPICAL, None, inputs)


@cache
def _size_of_layout(place: str, inputs: InputSpec) -> _Size:
    build = partial(LAYOUTS[place], CLASSES[place.partition("/")[0]])
    with torch.device("meta"):
        parameters = sum(p.numel() for p in build().parameters())
    return _Size(flops=count(build, inputs.shape), parameters=parameters)


@cache
def _size_of(model: str, width: int | None, inputs: InputSpec) -> _Size:
    config = TrainConfig(model=model, width=width)
    net = make_model(model, inputs, width=width, constants=config.constants)
    parameters = sum(p.numel() for p in net.parameters())
    try:
        flops = flops_of(config, inputs)
    except ModelError:  # it multiplies no matrices, as distances do not
        forward = DISTANCE * parameters
        flops = Flops(forward=forward, craft=2 * forward, joint=3 * forward)
    return _Size(flops=flops, parameters=parameters)


def _official(name: str, part: str) -> int:
    """Published number of examples of a part; of the digits, which have none, all."""
    official: Mapping[str, int] = DATASETS[parent_of(name)].official
    return official.get("train" if part == "validation" else part, 1797)
