"""Things by name: attacks, defenses, nets, data sets, batteries, studies, tables of the papers.

A table says where each entry lives and imports it only when it is asked for, so that `--help`
and the check of a name need no torch. A name is an entry of the table, the name of an entry point
(group `fftune.attacks`, ...) of an installed package, or `FILE.py:NAME` in a file of the user's.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from pathlib import Path
from typing import Any

from fftune.code_text import written_code
from fftune.errors import ConfigError, UserCodeError
from fftune.named_code import may_run
from fftune.user_code import attribute, local_code

LISTED = 80
"""Most names that a refusal lists."""
_FILE = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")


class Registry(Mapping[str, Any]):
    """Entries of one kind by name, each a frozen record beside the function that it describes."""

    def __init__(self, kind: str, group: str, entries: Mapping[str, str]) -> None:
        """Name the entries.

        Args:
            kind: what an entry is called in messages, as in "unknown attack 'pdg'".
            group: entry points of this group are entries too.
            entries: `package.module:ATTRIBUTE` by name.
        """
        self.kind = kind
        self.group = group
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from (name for name in _installed(self.group) if name not in self._entries)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in _installed(self.group)

    def __getitem__(self, name: str) -> Any:
        """The entry, imported now.

        Raises:
            ConfigError: there is none of this name, or its file does not define it.
        """
        if place := self._entries.get(name):
            module, _, attribute_name = place.partition(":")
            return getattr(import_module(module), attribute_name)
        if point := _installed(self.group).get(name):
            return point.load()
        if parts := _FILE.fullmatch(name):
            return self._of_file(Path(parts["file"]), parts["name"])
        raise ConfigError(self.refusal(name))

    def check(self, setting: str, name: str) -> None:
        """Refuse a name that can be no entry; `FILE.py:NAME` is looked into when it is used.

        Raises:
            ConfigError: the name is unknown; the nearest is named.
        """
        if not isinstance(name, str):  # from Python
            raise ConfigError(f"{setting} must be a name, got {name!r}")
        if name not in self and not is_of_file(name):
            raise ConfigError(f"{setting} must be known: {self.refusal(name)}")

    def refusal(self, name: str) -> str:
        """One line on a name that is no entry."""
        return f"unknown {self.kind} {name!r}; {nearest(name, self)} (or path/to/FILE.py:NAME)"

    def _of_file(self, file: Path, name: str) -> Any:
        if not file.is_file():
            raise ConfigError(f"{self.kind} '{file}:{name}': there is no file {str(file)!r}")
        key = (file.absolute(), _text(file), name)
        if key in _LOADED:
            return _LOADED[key]
        try:
            entry = attribute(file, name)
        except UserCodeError as error:
            raise ConfigError(f"{self.kind} '{file}:{name}': {error}") from error
        if entry is None:
            raise ConfigError(f"{self.kind} '{file}:{name}': the file defines no {name!r}")
        _LOADED[key] = entry
        return entry


def require_call(what: str, function: Any, *arguments: Any, **named: Any) -> None:
    """Refuse a function of the user's that cannot be called with these arguments.

    Raises:
        ConfigError: it takes others.
    """
    try:
        signature(function).bind(*arguments, **named)
    except TypeError as error:
        raise ConfigError(f"{what} must take other arguments: {error}") from None


def is_of_file(name: str) -> bool:
    """Is it `FILE.py:NAME`?"""
    return _FILE.fullmatch(name) is not None


def may_look(name: str) -> bool:
    """May the entry be imported? That of a file which only what is stored names may not."""
    parts = _FILE.fullmatch(name)
    return parts is None or may_run(Path(parts["file"]))


def code_of(name: str) -> str:
    """Digest of the code of `FILE.py:NAME`, and of what it imported from beside it; else ""."""
    parts = _FILE.fullmatch(name)
    if not parts:
        return ""
    file = Path(parts["file"])
    return hashlib.sha256(f"{_text(file)} {local_code(file)}".encode()).hexdigest()[:16]


def written_code_of(name: str) -> str:
    """Digest of `FILE.py:NAME` as `code_of`, but the same before and after the file was run."""
    parts = _FILE.fullmatch(name)
    return written_code(Path(parts["file"])) if parts else ""


def source_prefix(model: str) -> str:
    """The source of models that a name begins with, as in `timm:resnet18`; empty: it has none."""
    prefix, colon, _ = model.partition(":")
    return prefix if colon and ".py:" not in model and prefix in MODEL_SOURCES else ""


def absolute(name: str) -> str:
    """The name as any process understands it: the file of `FILE.py:NAME` by its whole path."""
    parts = _FILE.fullmatch(name)
    return f"{Path(parts['file']).absolute()}:{parts['name']}" if parts else name


def label(name: str) -> str:
    """The name as rows and tables print it: NAME of `FILE.py:NAME`."""
    parts = _FILE.fullmatch(name)
    return parts["name"] if parts else name


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error about a misspelt name: the nearest known one, or the first of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    more = f", and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"known: {', '.join(known[:LISTED]) or 'none'}{more}"


_LOADED: dict[tuple[Path, str, str], Any] = {}
"""Entries of users' files by file, its text and name: a file is run once, and again when edited."""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="backslashreplace")
    except OSError:
        return ""


@cache
def _installed(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def _in_file(file: str, names: str) -> dict[str, str]:
    """Places of entries that lie in one file, each under its name in capitals."""
    return {name: f"{file}:{name.upper().replace('-', '_')}" for name in names.split()}


ATTACKS = Registry(
    "attack",
    "fftune.attacks",
    {
        "fgsm": "fftune.attacks.pgd:FGSM",
        "pgd": "fftune.attacks.pgd:PGD",
        "cw": "fftune.attacks.pgd:CW",
        "deepfool": "fftune.attacks.deepfool:DEEPFOOL",
        "apgd": "fftune.attacks.apgd:APGD",
        "fab": "fftune.attacks.fab:FAB",
        "square": "fftune.attacks.square:SQUARE",
        "rays": "fftune.attacks.rays:RAYS",
        "pgd_hedged": "fftune.attacks.pgd:PGD_HEDGED",
        "cr": "fftune.attacks.constraint_relaxation:CR",
    },
)
OBJECTIVES = Registry(
    "objective",
    "fftune.objectives",
    _in_file(
        "fftune.objectives", "standard pgd_at trades thrm trades_all thrm_all fast_at linf_dist"
    ),
)
DEFENSES = Registry(
    "defense",
    "fftune.defenses",
    {
        "random": "fftune.defenses.hedge:RANDOM",
        "hedge": "fftune.defenses.hedge:HEDGE",
        "hedge_one_class": "fftune.defenses.hedge:HEDGE_ONE_CLASS",
        "anti_adversary": "fftune.defenses.anti_adversary:ANTI_ADVERSARY",
        "jpeg": "fftune.defenses.jpeg:JPEG",
        "bit_depth": "fftune.defenses.bit_depth:BIT_DEPTH",
        "smoothing": "fftune.defenses.smoothing:SMOOTHING",
    },
)
MODELS = Registry(
    "model",
    "fftune.models",
    {
        "small_cnn": "fftune.models.small_cnn:ENTRY",
        "small_resnet": "fftune.models.small_resnet:ENTRY",
        "mlp": "fftune.models.mlp:ENTRY",
        "vgg16": "fftune.models.vgg16:ENTRY",
        "resnet18": "fftune.models.resnet18:ENTRY",
        "wrn28_10": "fftune.models.wrn28_10:ENTRY",
        "linf_dist": "fftune.models.linf_dist:ENTRY",
        "resnet50": "fftune.models.imagenet_resnet:RESNET50",
        "resnet101": "fftune.models.imagenet_resnet:RESNET101",
    },
)
MODEL_SOURCES = Registry(
    "source of models",
    "fftune.model_sources",
    {
        "torchvision": "fftune.models.origins.of_torchvision:SOURCE",
        "timm": "fftune.models.origins.of_timm:SOURCE",
        "robustbench": "fftune.models.origins.of_robustbench:SOURCE",
        "hf": "fftune.models.origins.hugging_face:SOURCE",
        "torchscript": "fftune.models.origins.torchscript:SOURCE",
        "exported": "fftune.models.origins.exported:SOURCE",
    },
)
DATASETS = Registry(
    "data set",
    "fftune.datasets",
    {
        "digits": "fftune.data.sources.digits:DIGITS",
        "digits-negatives": "fftune.data.sources.digits:NEGATIVES",
        "digits-rotated": "fftune.data.sources.digits:ROTATED",
        "digits-enlarged": "fftune.data.sources.digits:ENLARGED",
        "mnist": "fftune.data.sources.archives:MNIST",
        "cifar10": "fftune.data.sources.archives:CIFAR10",
        "cifar100": "fftune.data.sources.archives:CIFAR100",
        "svhn": "fftune.data.sources.archives:SVHN",
        "tiny-imagenet": "fftune.data.sources.folders:TINY_IMAGENET",
        "imagenet": "fftune.data.sources.folders:IMAGENET",
    },
)
DATA_FORMS = Registry(
    "form of data",
    "fftune.data_forms",
    {  # in the order in which a place is compared with them
        "pickles": "fftune.data.sources.cifar_pickles:CIFAR_PICKLES",
        "shards": "fftune.data.sources.shards:SHARDS",
        "tars": "fftune.data.sources.tars:TARS",
        "arrays": "fftune.data.sources.numpy_files:NUMPY_FILES",
        "lists": "fftune.data.sources.image_lists:IMAGE_LISTS",
        "folders": "fftune.data.sources.folders:CLASS_FOLDERS",
    },
)
BATTERIES = Registry(
    "battery",
    "fftune.batteries",
    {
        "risks": "fftune.evaluation.batteries:RISKS",
        "audit": "fftune.evaluation.batteries:AUDIT",
        "nine": "fftune.evaluation.batteries:NINE",
        "autoattack": "fftune.evaluation.batteries:AUTOATTACK",
        "ensemble": "fftune.evaluation.batteries:ENSEMBLE",
        "hypocritical": "fftune.evaluation.batteries:HYPOCRITICAL",
        "targets": "fftune.evaluation.batteries:TARGETS",
        "fast_at": "fftune.evaluation.batteries:FAST_AT",
        "certified": "fftune.evaluation.certificate:BATTERY",
        "second_opinion": "fftune.evaluation.second_opinion:BATTERY",
    },
)
STRATEGIES = Registry(
    "strategy",
    "fftune.strategies",
    _in_file("fftune.sweeping.samplers.strategies", "auto gap grid gp tpe random one-net soup"),
)
STUDIES = Registry(
    "kind of study",
    "fftune.studies",
    {
        "lambda": "fftune.lambda_study:LAMBDA_STUDY",
        "hedge": "fftune.hedge_study.study:HEDGE_STUDY",
    },
)


def _items(paper: str, room: str, **files: str) -> dict[str, str]:
    """Places of a paper's items, tables first, by the file that builds them."""
    at = {name: file for file, names in files.items() for name in names.split()}
    order = sorted(at, key=lambda name: (name[0] == "F", int(name[1:])))
    return {f"{paper}.{name}": f"fftune.papers.{room}.{at[name]}:{name}" for name in order}


PAPERS = Registry(
    "table or figure",
    "fftune.papers",
    {
        **_items(
            "P1",
            "false_friends",
            tables="T1 T2 T3 T5 T6 T7 T8 T9",
            galleries="T4 F1",
            fronts="T10 T11 T12 T13",
            attacks="T14",
            toy_items="T15 F8 F9 F10 F11 F12",
            certified="T16",
            figures="F2 F3 F4 F5 F6 F7",
        ),
        "P1.transfer": "fftune.papers.false_friends.transfer:TRANSFER",
        "P1.robust-hypocrisy": "fftune.papers.false_friends.robust_hypocrisy:ROBUST_HYPOCRISY",
        "P1.true-friend": "fftune.papers.false_friends.true_friend:TRUE_FRIEND",
        **_items(
            "P2",
            "hedge_defense",
            tables="T1 T2 T5 T7",
            fast_at_table="T3",
            variance_table="T4",
            adaptive_tables="T6 T8",
            figures="F1 F2 F3 F5 F6 F7 F8 F9",
            linear_items="F4 F10 F11 F12",
        ),
    },
)
