"""Net under evaluation as a process holds it: untouched, with its copies and what it answered."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from fftune.evaluation.batteries import Attack
from fftune.evaluation.defended import DefenseSet
from fftune.evaluation.running_accuracy import TellSearch
from fftune.evaluation.saved_images import Perturbed, Verdict
from fftune.evaluation.stored_forms import StoredForm
from fftune.models import fits
from fftune.models.verdict import in_pieces


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelUnderTest:
    """Net under evaluation and its copies, in eval mode and frozen, with its columns in rows."""

    net: nn.Module
    """The untouched net in fp32, which gives every prediction of the rows."""
    surrogate: nn.Module
    """Faster copy in fp32, which searches query; see `models.inference_copies`."""
    surrogate_lowp: nn.Module
    """Copy that searches for a first success query, in bf16 where the precision says so."""
    classes: int
    """Number of classes of the data set."""
    columns: dict[str, str]
    """Columns of every row: `dataset_hash`, `split` and `model_hash`."""
    source: str = "the data set"
    """Name of the data set."""
    device: str = "cpu"
    piece: int | None = None
    """Rows of each pass of a verdict; see `models.verdict.pieces`."""
    defense_set: DefenseSet | None = None
    """Defenses under which every perturbed example is scored too."""
    others: dict[str, nn.Module] = field(default_factory=dict)
    """Other nets by name, on which points are crafted; see `evaluation.transfer`."""
    clean: dict[tuple[int, ...], Tensor] = field(default_factory=dict)
    """Cache, by block ids: (B, K) clean logits, which all attacks share."""
    keep: Callable[[Attack, Perturbed, Verdict], None] | None = None
    """Called with what every attack has perturbed, which rows do not hold."""
    stored: tuple[StoredForm, ...] = ()
    """Forms of files in which every perturbed example is scored too."""
    running: TellSearch | None = None
    """Called with what each search of an ensemble leaves."""
    behind: dict[tuple[int, tuple[int, ...]], list[Tensor]] = field(default_factory=dict)
    """Cache, by first draw and block ids: (B,) int64 predictions of the clean images under m
    draws of each defense."""


def logits_of(subject: ModelUnderTest, x: Tensor) -> Tensor:
    """(B, K) logits of the untouched net, as verdicts take them; see `models.verdict`.

    Raises:
        ModelError: the output is not (B, K), or holds a nan or an infinity.
    """
    ask = in_pieces(subject.net, subject.piece)
    return fits.logits_of(ask, x, subject.classes, data=subject.source)
