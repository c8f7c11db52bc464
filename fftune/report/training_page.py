"""Page of a training that has ended: its epochs, and what its accuracies are of."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from shlex import quote

from fftune import __version__
from fftune.config import TrainConfig, told_radius
from fftune.config.model import NOT_PUBLISHED, VARIANTS
from fftune.objectives import objective_of
from fftune.progress import duration
from fftune.report.result_page import Figure, ResultPage
from fftune.report.terminal import Block, Cell, Grid, grid
from fftune.training.checkpoint import Checkpoint
from fftune.training.history import EpochRecord
from fftune.training.tracked import described

SHOWN = 8
"""Epochs that the table has, the first and the last among them."""
COLUMNS = {
    "accuracy": "training images",
    "validation_accuracy": "validation images",
    "robust_accuracy": "under PGD",
}
"""Heads of the accuracies that were measured."""
MEASURED = ("loss", "lr", "seconds", *COLUMNS)
"""Fields of `EpochRecord` that are figures of the result."""


def training_page(name: str, checkpoint: Checkpoint, folder: Path) -> ResultPage:
    """Lay out a training.

    Args:
        folder: of the run, which holds the checkpoint.
    """
    config, history = checkpoint.config, checkpoint.history
    blocks: list[Block] = [
        f"run       {name}: {described(config)}",
        f"images    {config.data.name}, hash {checkpoint.data_hash}",
        *_ball(config),
        f"seed      {config.seed}; fftune {__version__}",
        "",
    ]
    if history:
        blocks += [_grid(history), *_legend(config, history), ""]
    if checkpoint.stopped:
        blocks.append(f"stopped early: {checkpoint.stopped}")
    blocks += [f"checkpoint  {folder / 'checkpoint'}", *_beside(name, folder)]
    blocks.append(_last(config, history))
    return ResultPage(
        verb="train",
        blocks=tuple(blocks),
        figures=tuple(_figures(name, config, history)),
        more={
            "checkpoint": str(folder / "checkpoint"),
            "not_as_published": {name: str(folder / name) for name in _variants(folder)},
            "stopped": checkpoint.stopped,
        },
    )


def _variants(folder: Path) -> list[str]:
    """Nets that the run left beside the last one."""
    return [name for name in VARIANTS if (folder / name / "model.json").is_file()]


def _beside(name: str, folder: Path) -> list[str]:
    """Lines on the other nets of the run, and how to compare them."""
    found = _variants(folder)
    if not found:
        return []
    nets = " and ".join(f"{one} ({VARIANTS[one]})" for one in found)
    return [
        f"beside it   {nets}, {NOT_PUBLISHED};",
        f"            `fftune evaluate {quote(name)} --variants` compares them",
    ]


def _ball(config: TrainConfig) -> list[str]:
    """Ball and steps of what training crafts; none where it crafts nothing."""
    if objective_of(config).crafting is None:
        return []
    attack = config.attack
    ball = f"{attack.threat.norm}, eps {told_radius(attack.threat.eps)}"
    return [f"ball      {ball}; {attack.label}"]


def _grid(history: Sequence[EpochRecord]) -> Grid:
    measured = {
        head: field
        for field, head in COLUMNS.items()
        if any(isfinite(getattr(epoch, field)) for epoch in history)
    }
    rows: list[list[Cell]] = [["epoch", "loss", *measured, "time"]]
    for epoch in _some(history):
        shares = (getattr(epoch, field) for field in measured.values())
        cells = ["-" if not isfinite(share) else f"{100 * share:.1f} %" for share in shares]
        spent = sum(one.seconds for one in history[: epoch.epoch])
        rows.append([str(epoch.epoch), f"{epoch.loss:.4f}", *cells, duration(spent)])
    return grid(rows, "Loss, and accuracy on")


def _some(history: Sequence[EpochRecord]) -> list[EpochRecord]:
    """The first epoch, the last, and some between, validated ones where those are enough."""
    seen = [epoch for epoch in history[1:] if isfinite(epoch.validation_accuracy)]
    shown = [history[0], *(seen if len(seen) >= SHOWN - 1 else history[1:])]
    last = len(shown) - 1
    at = {round(last * one / (SHOWN - 1)) for one in range(SHOWN)} if last else {0}
    return [shown[one] for one in sorted(at)]


def _legend(config: TrainConfig, history: Sequence[EpochRecord]) -> list[str]:
    lines = [f"training images: {_of_training(config)}, while the weights changed."]
    if isfinite(history[-1].robust_accuracy):
        lines.append("under PGD: on the first batch, to see catastrophic overfitting.")
    return [" ".join(lines)]


def _of_training(config: TrainConfig) -> str:
    crafting = objective_of(config).crafting
    perturbed = crafting is not None and not crafting.joint
    return "perturbed as they are trained on" if perturbed else "clean"


def _last(config: TrainConfig, history: Sequence[EpochRecord]) -> str:
    """Sentence with the last accuracy, and what that is of."""
    if not history:
        return "No epoch was trained."
    last = history[-1]
    found = f"accuracy {100 * last.accuracy:.1f} % on training images, {_of_training(config)}"
    if isfinite(last.validation_accuracy):
        found += f"; {100 * last.validation_accuracy:.1f} % on validation images"
    epochs = f"{len(history)} epoch{'s' if len(history) > 1 else ''}"
    return f"{epochs} trained: {found}."


def _figures(name: str, config: TrainConfig, history: Sequence[EpochRecord]) -> list[Figure]:
    threat = config.attack.threat
    return [
        Figure(
            net=name,
            lam=config.lam,
            seed=config.seed,
            data=config.data.name,
            split="validation" if field.startswith("validation") else "train",
            norm=threat.norm,
            eps=threat.eps,
            figure=f"epoch {epoch.epoch}/{field}",
            value=value,
        )
        for epoch in history
        for field, value in asdict(epoch).items()
        if field in MEASURED and isfinite(value)
    ]
