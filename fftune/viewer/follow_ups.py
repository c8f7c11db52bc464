"""Commands about a picked trial, which run as they are typed."""

from collections.abc import Callable
from pathlib import Path
from shlex import quote

from fftune.config import (
    HedgeSweep,
    Settings,
    Study,
    SweepConfig,
    TrainConfig,
    read_settings,
    with_settings,
)

Trained = Callable[[TrainConfig], str]
"""Gives the command that trains a net with these settings; empty where no flags would."""
Commands = list[tuple[str, str]]
"""Commands, each with what it is for before it."""


def follow_ups(config: Study, folder: Path, settings: Settings, trained: Trained) -> Commands:
    """Commands that train a trial's net again, and that attack and use it.

    Args:
        folder: of the trial, or of one of its seeds.
        settings: what the search chose.
    """
    if isinstance(config, HedgeSweep):
        return _of_hedge(config, settings)
    if not isinstance(config, SweepConfig):
        return []
    checkpoint, found = folder / "checkpoint", []
    if (folder / "config.json").is_file():
        command = trained(read_settings(TrainConfig, folder / "config.json"))
        found += [("train it again", command)] if command else []
    if (checkpoint / "model.json").is_file():
        found += _of_checkpoint(checkpoint)
    return found


def _of_checkpoint(checkpoint: Path) -> Commands:
    place = quote(str(checkpoint))
    return [
        ("attack it with more", f"fftune evaluate {place} --battery nine"),
        (
            "use it, in Python",
            f"from fftune.models.named_net import read_net\nnet = read_net({str(checkpoint)!r})",
        ),
    ]


def _of_hedge(config: HedgeSweep, settings: Settings) -> Commands:
    """Commands about a hedge: attackers who know it, and the defense itself."""
    trial = with_settings(config.base, settings)
    hedge, checkpoint = trial.hedge, Path(trial.net.weights).parent
    if not hedge.eps_d:
        return []
    python = (
        "import fftune as ff\n"
        f"hedge = ff.HedgeConfig(norm={hedge.norm!r}, eps_d={hedge.eps_d!r}, steps={hedge.steps}, "
        f"step_size={hedge.step_length!r})\n"
        "safer = ff.hedge(net, x, config=hedge, noise=ff.Noise(0), ids=ids)"
    )
    found = [("use it, in Python, before the net answers", python)]
    if (checkpoint / "model.json").is_file():
        kind = "hedge" if hedge.steps else "random"
        flags = f"--defense {kind} --defense.norm {hedge.norm} --defense.eps-d {hedge.eps_d!r}"
        if hedge.steps:
            flags += f" --defense.steps {hedge.steps} --defense.step-size {hedge.step_length!r}"
        command = f"fftune evaluate {quote(str(checkpoint))} {flags}"
        found.insert(0, ("ask attackers who know it", command))
    return found
