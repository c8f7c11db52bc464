"""Settings as frozen values, checked once, and their exact JSON.

Every message names the setting by its full path, as in `base.attack.steps`.
Values stay what a recipe wrote: `8 / 255` is stored with all its bits.
"""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from fftune.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Norm = Literal["linf", "l2"]
Goal = Literal["adversarial", "targeted", "hypocritical", "stability", "hedge", "label_free"]
Loss = Literal["ce", "margin", "dlr", "kl"]
Start = Literal["uniform", "gaussian", "none"]
Search = Literal["fgsm", "pgd", "cw", "deepfool", "apgd", "fab", "square", "rays"]
Protocol = Literal["fixed", "strong"]
Battery = Literal["risks", "nine", "autoattack", "hypocritical", "targets"]
Tier = Literal["screen", "standard", "full"]
Precision = Literal["fp32", "bf16", "auto"]
Device = Literal["cpu", "cuda"]
Objective = Literal["standard", "pgd_at", "trades", "thrm"]
Split = Literal["train", "validation", "test"]
Engine = Literal["auto", "ffcv", "memory", "torch"]
Strategy = Literal["gap", "grid"]
Selection = Literal["validation", "test"]
Backend = Literal["inline", "ray"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """Every x' in [0, 1] with ||x' - x||_norm <= eps, pixels scaled to [0, 1]."""

    norm: Norm = "linf"
    eps: float = 8 / 255

    def __post_init__(self) -> None:
        require("eps", 0 <= self.eps < math.inf, "finite and >= 0", self.eps)
        if self.norm == "linf":
            require("eps", self.eps <= 1, "<= 1 for linf, as pixels lie in [0, 1]", self.eps)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackConfig:
    """One search for a point of a ball: how it starts, how far and how often it steps."""

    threat: ThreatModel = field(default_factory=ThreatModel)
    search: Search = "pgd"
    steps: int = 20
    """Iterations; for `square` and `rays`, queries an example."""
    step_size: float | None = None
    """Length of a step of `pgd` and `cw`; none stands for eps / 4 (Tao et al. 2022, A.2).
    The other searches choose theirs."""
    start: Start = "uniform"
    """`uniform` in the ball; `gaussian` with deviation .01, as the authors' code has it for
    THRM and TRADES; `none` at x itself. For `pgd`, `cw` and `apgd`."""
    restarts: int = 1
    """Tried one after another, until one succeeds."""
    targets: int = 0
    """For "adversarial" `apgd` and `fab`: how many of the likeliest other classes are aimed at,
    one after another; at most classes - 1. 0 aims at none in particular. For `deepfool`: how
    many boundaries are looked at; 0 is all."""
    protocol: Protocol = "fixed"
    """`fixed` takes every step; `strong` stops an example at its first success, which may be x
    itself, and else keeps its best iterate."""

    def __post_init__(self) -> None:
        require("steps", self.steps >= 0, ">= 0", self.steps)
        require("step_size", self.step_length >= 0, ">= 0", self.step_size)
        require("restarts", self.restarts >= 1, ">= 1", self.restarts)
        require("targets", self.targets >= 0, ">= 0", self.targets)

    @property
    def step_length(self) -> float:
        """`step_size`, or eps / 4."""
        return self.threat.eps / 4 if self.step_size is None else self.step_size


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """A data set and its disjoint, stratified parts.

    Where the set has an official test part, `test` is that part, and the other two come from the
    official training part. Where it has none, `test` is all that the other two leave.
    """

    name: str = "digits"
    """A set by name, `folder:PATH`, or `synthetic:shape=3x32x32,classes=10,train=1000,...`."""
    train_size: int | None = 100
    """None stands for all that validation leaves of the official training part."""
    validation_size: int = 500
    split_seed: int = 0
    image_size: int | None = None
    """Side of the central square that is cut from photographs, after their shorter side was made
    8/7 of it; None leaves images as they are stored, and then they must be of one size."""

    def __post_init__(self) -> None:
        require(
            "train_size", self.train_size is None or self.train_size >= 1, ">= 1", self.train_size
        )
        require("validation_size", self.validation_size >= 0, ">= 0", self.validation_size)
        size = self.image_size
        require("image_size", size is None or size >= 1, ">= 1", size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What happens to a training image, keyed by (seed, epoch, id) and equal in every engine."""

    crop_padding: int = 0
    """A random crop of the image padded by so many zeros on each side."""
    flip: bool = False
    """Every second image, at random, is mirrored."""
    resized_crop: int | None = None
    """FFCV's RandomResizedCrop to this side, for photographs. Not reproducible: FFCV draws it
    from a stream that cannot be seeded, and no other engine has it."""

    def __post_init__(self) -> None:
        require("crop_padding", 0 <= self.crop_padding < 2**15, "in [0, 32768)", self.crop_padding)
        size = self.resized_crop
        require("resized_crop", size is None or size >= 1, ">= 1", size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """How the examples of a split are delivered."""

    batch_size: int = 128
    engine: Engine = "auto"
    """`memory` below 1 GB; above it `ffcv`, where it is installed and a beton is there, or
    `torch`. All deliver the same examples in the same order, with the same pixels unless they
    are stored as JPEG: FFCV's decoder rounds otherwise than PIL's."""
    shuffle: bool = False
    """In another order every epoch, which (seed, epoch) determines."""
    drop_last: bool = False
    """Leave out a last batch that is not full."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    workers: int | None = None
    """Threads of `ffcv`, processes of `torch`; none stands for what the CPU affinity allows."""

    def __post_init__(self) -> None:
        require("batch_size", self.batch_size >= 1, ">= 1", self.batch_size)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("workers", self.workers is None or self.workers >= 0, ">= 0", self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteConfig:
    """How images become a beton, FFCV's file."""

    mode: Literal["raw", "jpg", "mixed"] = "raw"
    """`raw` keeps every pixel; `jpg`, and `mixed` for every second image, do not. A test part is
    always raw: JPEG moves pixels by a quarter of eps = 8/255."""
    quality: int = 90
    """Of JPEG, 1 to 100."""
    sizes: Literal["equal", "mixed"] = "equal"
    """`mixed` lets training photographs differ; augmentation.resized_crop reads them."""
    shorter_side: int | None = None
    """What the shorter side of training photographs becomes, bicubic; implies mixed sizes."""
    image_size: int | None = None
    """Side of the central square, as in `DataSpec`; training photographs of mixed sizes are
    not cut."""
    page_mib: int = 8
    """No image may take more; a power of two."""
    skip_bad: bool = False
    """Leave out images that cannot be decoded, and list them, rather than stop."""
    threads: int | None = None
    """That decode; none stands for what the CPU affinity allows. They change no byte."""

    def __post_init__(self) -> None:
        require("quality", 1 <= self.quality <= 100, "in 1 ... 100", self.quality)
        for setting in ("shorter_side", "image_size", "threads"):
            value = getattr(self, setting)
            require(setting, value is None or value >= 1, ">= 1", value)
        power = self.page_mib & (self.page_mib - 1) == 0
        require("page_mib", power and 2 <= self.page_mib <= 2048, "2, 4, ... 2048", self.page_mib)

    @property
    def mixed_sizes(self) -> bool:
        """Whether training photographs may differ in size."""
        return self.sizes == "mixed" or self.shorter_side is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """SGD with momentum under a one-cycle learning rate (Smith & Topin 2018)."""

    epochs: int = 40
    batch_size: int = 50
    lr: float = 0.05
    """The peak of the cycle."""
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        require("epochs", self.epochs >= 1, ">= 1", self.epochs)
        require("batch_size", self.batch_size >= 2, ">= 2 for BatchNorm", self.batch_size)
        require("lr", self.lr > 0, "> 0", self.lr)
        require("momentum", 0 <= self.momentum < 1, "in [0, 1)", self.momentum)
        require("weight_decay", self.weight_decay >= 0, ">= 0", self.weight_decay)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run, complete: the same config gives the same weights."""

    objective: Objective = "standard"
    lam: float = 0.0
    """The weight of the second term; 0 is standard training."""
    attack: AttackConfig = field(default_factory=lambda: AttackConfig(steps=10))
    data: DataSpec = field(default_factory=DataSpec)
    model: str = "small_cnn"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    seed: int = 0
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""

    def __post_init__(self) -> None:
        require("lam", self.lam >= 0, ">= 0", self.lam)
        require("lam", math.isfinite(self.lam), "finite", self.lam)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("threads", self.threads >= 1, ">= 1", self.threads)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """What a net must know of its data: (C, H, W), the classes, and how to normalise."""

    shape: tuple[int, int, int]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A net that anybody can build again: its factory, its inputs and its weights' hash."""

    factory: str
    """`fftune:NAME`, a net of this package, or `path/to/file.py:FUNCTION`, one of the user's:
    it is called without arguments and takes images in [0, 1]."""
    inputs: InputSpec | None = None
    """What a net of this package is built for; a user's own knows by itself."""
    weights: str = ""
    """Path of a state_dict; empty where the user's function has loaded them already."""
    hash: str = ""
    """`weights_hash` of the net; another one is refused. Empty takes the net as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryConfig:
    """A named set of attacks, run on every example of a split, a block at a time."""

    name: Battery = "risks"
    steps: int = 20
    """Of `risks` and `targets`; the other batteries are as their sources have them."""
    tier: Tier = "standard"
    """How long the ensembles search; see `fftune.evaluate.tiers`."""
    examples: int | None = None
    """How many examples of the split, evenly spread over its ids; none is all."""
    block_size: int = 256
    """The unit of work: consecutive ids that are attacked together, wherever they run."""
    seed: int = 0
    threads: int = 1
    """CPU threads of torch; equal threads are part of what makes rows equal."""
    device: Device = "cpu"
    precision: Precision = "auto"
    """Of the `strong` searches, whose successes are confirmed in fp32 on the untouched net;
    `auto` is bf16 where the hardware has it."""

    def __post_init__(self) -> None:
        require("steps", self.steps >= 0, ">= 0", self.steps)
        few = self.examples is None or self.examples >= 1
        require("examples", few, ">= 1", self.examples)
        require("block_size", self.block_size >= 1, ">= 1", self.block_size)
        require("threads", self.threads >= 1, ">= 1", self.threads)


PAPER_LAMBDAS = (0.0, 1.0, 5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig:
    """A study: which lambdas are trained, how each is judged, where the points are chosen."""

    name: str = "study"
    experiment: str = "fftune"
    """MLflow experiment; studies of one experiment share data, threat and battery."""
    base: TrainConfig = field(default_factory=TrainConfig)
    battery: BatteryConfig = field(default_factory=BatteryConfig)
    strategy: Strategy = "gap"
    trials: int = 9
    """How many lambdas `gap` tries; `grid` tries each of `lam`."""
    lam: tuple[float, ...] = PAPER_LAMBDAS
    """The grid (the papers' nine); `gap` searches from its least to its greatest."""
    selection: Selection = "validation"
    """Where the front's points are chosen; `test` does as the papers did, and is optimistic."""

    def __post_init__(self) -> None:
        require("name", is_plain(self.name), "letters, digits, '.', '_' or '-'", self.name)
        require("experiment", self.experiment != "", "non-empty", self.experiment)
        require("trials", self.trials >= 1, ">= 1", self.trials)
        require("lam", len(set(self.lam)) == len(self.lam) > 0, "distinct values", self.lam)
        for lam in self.lam:
            require("lam", 0 <= lam < math.inf, ">= 0 and finite", lam)
        if self.strategy == "gap":
            require("lam", len(self.lam) > 1, "a range of at least two values for 'gap'", self.lam)
        require("base.lam", self.base.lam == 0, "left to the search (see lam)", self.base.lam)

    @property
    def planned(self) -> int:
        """How many trials make the study complete."""
        return len(self.lam) if self.strategy == "grid" else self.trials


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Where a sweep runs and what a trial takes; none of it may change a number."""

    address: str | None = None
    """A Ray cluster to join; without it `RAY_ADDRESS`, else a private one on this machine."""
    concurrency: int | None = None
    """Trials at once; none stands for as many as the cluster holds."""
    gpus: float = 0.0
    """GPUs of one trial; fractions share one."""

    def __post_init__(self) -> None:
        require("concurrency", (self.concurrency or 1) >= 1, ">= 1", self.concurrency)
        require("gpus", 0 <= self.gpus < math.inf, ">= 0", self.gpus)


def require(setting: str, holds: bool, rule: str, value: object) -> None:
    """Raise `ConfigError` unless `holds`. NaN fails every comparison, so it fails here."""
    if not holds:
        raise ConfigError(f"{setting} must be {rule}, got {value!r}")


def is_plain(name: str) -> bool:
    """Whether `name` can name a folder: no separators, not hidden, not empty."""
    return name != "" and name[0] != "." and all(c.isalnum() or c in "._-" for c in name)


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about a misspelt name: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def to_json(config: Any) -> str:
    """Every setting, defaults included; `from_json` gives back an equal value."""
    return json.dumps(dataclasses.asdict(config), indent=2, allow_nan=False) + "\n"


def from_json(cls: type[T], text: str) -> T:
    """Build the dataclass `cls` from what `to_json` wrote.

    Raises:
        ConfigError: a key is unknown (the nearest is named), a value is missing, of the
            wrong type or out of range. The message names the full path.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_json(_refuse_unknown(cls, text), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(map(_explain, error.errors()))) from None


def config_hash(config: Any) -> str:
    """16 hex digits that name these settings."""
    return hashlib.sha256(to_json(config).encode()).hexdigest()[:16]


def _refuse_unknown(cls: type[Any], text: str) -> str:
    """The text itself, once every key in it is known to be a field."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise ConfigError(f"settings must be a JSON object, got {type(data).__name__}")
    _check_keys(cls, data, "")
    return text


def _check_keys(cls: type[Any], data: Mapping[str, Any], at: str) -> None:
    fields = {f.name: f.type for f in dataclasses.fields(cls)}
    for key, value in data.items():
        if key not in fields:
            raise ConfigError(f"unknown setting {at + key!r}; {nearest(key, fields)}")
        if dataclasses.is_dataclass(fields[key]) and isinstance(value, Mapping):
            _check_keys(cast("type[Any]", fields[key]), value, f"{at}{key}.")


def _explain(error: "ErrorDetails") -> str:
    at = ".".join(map(str, error["loc"]))
    if error["type"] == "value_error":  # our own rule, which begins with its setting
        rule = str(error["ctx"]["error"])
        return f"{at}.{rule}" if at else rule
    return f"{at}: {error['msg']}, got {error['input']!r}"


def flat(config: Any) -> dict[str, Any]:
    """Every leaf setting by its full path, as in `base.attack.steps`."""
    leaves: dict[str, Any] = {}
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        inner = flat(value) if dataclasses.is_dataclass(value) else None
        leaves |= {f"{f.name}.{k}": v for k, v in inner.items()} if inner else {f.name: value}
    return leaves


def differences(old: Any, new: Any) -> str:
    """What changed from one config to another, one setting after the other."""
    was, now = flat(old), flat(new)
    return ", ".join(f"{k} was {was.get(k)!r}, now {now[k]!r}" for k in now if was.get(k) != now[k])
