"""Settings of data: the examples, their delivery, and how they are stored."""

from dataclasses import dataclass, field, replace
from typing import Literal

from fftune.config.literals import Engine, Norm
from fftune.config.validation import require, require_words
from fftune.registry import DATASETS, absolute, is_of_file


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """A data set and its disjoint, stratified parts.

    Where the set has an official test part, `test` is that part, and the other two come from the
    official training part. Where it has none, `test` is all that the other two leave: the whole
    set, unless sizes are asked for or the set (`digits`) is known to be divided in one way.
    """

    name: str = "digits"
    """One of `fftune data list`, `folder:PATH`, `hf:OWNER/NAME`, FILE.py:NAME. A
    folder has class folders, `metadata.csv`, Parquet, WebDataset's tars, NumPy's files or CIFAR's
    pickles; `hf:` is the local cache of the Hugging Face hub; FILE.py:NAME is a function of yours;
    `synthetic:shape=3x32x32,classes=10,train=1000,...` draws one."""
    train_size: int | None = None
    """Number of training examples; default: all that validation leaves of the official training
    part, 100 of `digits`."""
    validation_size: int | None = None
    """Number of validation examples; default 0, 500 of `digits`."""
    split_seed: int = 0
    """Seed by which the examples of a set are divided into its parts."""
    image_size: int | None = None
    """Side of the central square that is cut from photographs, in pixels; default: images stay as
    they are stored, and must be of one size."""
    image_resize: bool = True
    """Resize photographs before, so that the shorter side is 8/7 of `image_size`; FastAT cuts its
    288 pixels from photographs as they are."""

    def __post_init__(self) -> None:
        require_words(self)
        object.__setattr__(self, "name", data_name(self.name))
        require(
            "train_size", self.train_size is None or self.train_size >= 1, ">= 1", self.train_size
        )
        chosen_by = self.validation_size
        require("validation_size", chosen_by is None or chosen_by >= 0, ">= 0", chosen_by)
        size = self.image_size
        require("image_size", size is None or size >= 1, ">= 1", size)


def of_another(data: DataSpec, name: str | None) -> DataSpec:
    """The settings for another data set, if one is named.

    Sizes of splits are not taken over for a set of the user's: they are asked for, or the set stays
    whole. A set that was made of a known one, as `cifar10-noise` is, has that one's.
    """
    if name is None or data_name(name) == data.name:
        return data
    known = name.startswith("synthetic") or any(
        name == known or name.startswith(f"{known}-") for known in DATASETS
    )
    if known:
        return replace(data, name=name)
    return replace(data, name=name, train_size=None, validation_size=None)


PREFIXES = ("folder:", "hf:", "synthetic:")
"""Beginnings of names that are none of a table, nor paths."""


def data_name(name: str) -> str:
    """The name of a data set in one spelling: a path is `folder:PATH`, and a file's is whole."""
    if "/" in name and not is_of_file(name) and not name.startswith(PREFIXES):
        return f"folder:{name}"
    return absolute(name)


PERTURBED = ("poisoning", "helped")
"""Kinds of changed training data whose images a net has perturbed, inside the ball of a norm."""


def substandard_name(parent: str, kind: str, norm: Norm) -> str:
    """Name of the changed set that is made of `parent`; perturbed images belong to one norm."""
    return f"{parent}-{kind}" + ("-l2" if kind in PERTURBED and norm == "l2" else "")


def written_by(kind: str) -> str:
    """Flags by which `fftune data write` makes a set called NAME-KIND; empty if it makes none.

    Args:
        kind: as in `poisoning` and `phase1`.
    """
    if kind in PERTURBED:
        return f"--kind {kind} --net CHECKPOINT"
    if kind in ("noise", "mislabeling"):
        return f"--kind {kind}"
    return f"--phase {kind[-1]}" if kind in ("phase1", "phase2", "phase3") else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Random changes of training images, keyed by (seed, epoch, id) and equal in every engine."""

    crop_padding: int = 0
    """Pixels of zeros on each side of an image before a random crop of its own size."""
    flip: bool = False
    """Mirror every second image, at random."""
    resized_crop: int | None = None
    """Side of FFCV's RandomResizedCrop, in pixels; default none. Not reproducible: FFCV draws it
    from a stream that cannot be seeded, and no other engine has it."""

    def __post_init__(self) -> None:
        require_words(self)
        require("crop_padding", 0 <= self.crop_padding < 2**15, "in [0, 32768)", self.crop_padding)
        size = self.resized_crop
        require("resized_crop", size is None or size >= 1, ">= 1", size)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderConfig:
    """Settings of a loader, which delivers the examples of a split in batches."""

    batch_size: int = 128
    """Examples of a batch, >= 1."""
    engine: Engine = "auto"
    """`auto` is `memory` below 1 GB; above it `ffcv`, if it is installed and an FFCV file is there,
    or `torch`. All deliver the same examples in the same order, with the same pixels unless they
    are stored as JPEG: FFCV's decoder rounds otherwise than PIL's."""
    shuffle: bool = False
    """Deliver in another order every epoch, which (seed, epoch) determines."""
    drop_last: bool = False
    """Leave out a last batch that is not full."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    """Seed of the order and of the augmentation."""
    workers: int | None = None
    """Threads of `ffcv`, processes of `torch`; default: as many as the CPU affinity allows."""

    def __post_init__(self) -> None:
        require_words(self)
        require("batch_size", self.batch_size >= 1, ">= 1", self.batch_size)
        require("seed", self.seed >= 0, ">= 0", self.seed)
        require("workers", self.workers is None or self.workers >= 0, ">= 0", self.workers)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteConfig:
    """Settings of writing images to a beton, a file of FFCV's format."""

    mode: Literal["raw", "jpg", "mixed"] = "raw"
    """`raw` keeps every pixel; `jpg`, and `mixed` for every second image, do not. A test part is
    always raw: JPEG moves pixels by a quarter of eps = 8/255."""
    quality: int = 90
    """JPEG quality, 1 to 100."""
    sizes: Literal["equal", "mixed"] = "equal"
    """`mixed` lets training photographs differ; augmentation.resized_crop reads them."""
    shorter_side: int | None = None
    """Shorter side that training photographs are resized to, in pixels, bicubic; default as they
    are. Implies mixed sizes."""
    image_size: int | None = None
    """Side of the central square that is cut from photographs, in pixels; default: as they are.
    Training photographs of mixed sizes are not cut."""
    image_resize: bool = True
    """Resize photographs before, so that the shorter side is 8/7 of `image_size`."""
    page_mib: int = 8
    """Largest size of an image, in MiB; a power of two."""
    skip_bad: bool = False
    """Leave out images that cannot be decoded, and list them, rather than stop."""
    threads: int | None = None
    """Threads that decode; default: as many as the CPU affinity allows. They change no byte."""

    def __post_init__(self) -> None:
        require_words(self)
        require("quality", 1 <= self.quality <= 100, "in 1 ... 100", self.quality)
        for setting in ("shorter_side", "image_size", "threads"):
            value = getattr(self, setting)
            require(setting, value is None or value >= 1, ">= 1", value)
        power = self.page_mib & (self.page_mib - 1) == 0
        require("page_mib", power and 2 <= self.page_mib <= 2048, "2, 4, ... 2048", self.page_mib)

    @property
    def mixed_sizes(self) -> bool:
        """True if training photographs may differ in size."""
        return self.sizes == "mixed" or self.shorter_side is not None
