"""Settings that were taken without a word: each is refused before anything is done."""

import contextlib
import io
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fftune import recipes
from fftune.capture import captured
from fftune.cli import evaluate, reproduce, sweep, train
from fftune.cli.edge import ended
from fftune.config import (
    Dimension,
    OptimizerConfig,
    Resources,
    ShowcaseConfig,
    SweepConfig,
    TrainConfig,
)
from fftune.config.study import StoppingConfig
from fftune.errors import ConfigError, StorageError
from fftune.sweeping.optuna_storage import _place

COMMANDS: dict[str, tuple[ModuleType, str, str]] = {
    "accumulate": (
        train,
        "thrm --optimizer.accumulate 51",
        "optimizer.accumulate must be at most the 50 examples of a worker's share of a batch",
    ),
    "save-seconds": (train, "thrm --save-seconds nan", "save_seconds must be finite, got nan"),
    "decay": (train, "thrm --optimizer.weight-decay inf", "optimizer.weight_decay must be finite"),
    "step": (train, "thrm --attack.step-size inf", "attack.step_size must be finite"),
    "epochs": (train, "thrm --optimizer.epochs 1" + 23 * "0", "optimizer.epochs must be at most"),
    "steps": (evaluate, "--model mlp --battery.steps 1" + 23 * "0", "battery.steps must be at"),
    "restarts": (train, "thrm --attack.restarts 1" + 23 * "0", "attack.restarts must be at most"),
    "seeds": (evaluate, "--model mlp --seeds 1" + 23 * "0", "seeds must be at most"),
    "concurrency": (sweep, "thrm --concurrency 0", "concurrency must be >= 1, got 0"),
    "rungs": (sweep, "thrm --stopping.rungs 1 41", "stopping.rungs must be at most the last epoch"),
    "limits": (reproduce, "P1.T2 --limits analysed 0 --list", "analysed must be >= 1, got 0"),
    "battery": (
        evaluate,
        "--model mlp --battery nin",
        "battery.name must be known: unknown battery 'nin'; did you mean 'nine'?",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_refused(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    verb, words, line = COMMANDS[name]
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        assert ended(lambda: verb.main(words.split())) == 2
    assert stream.getvalue().startswith(f"fftune: {line}"), stream.getvalue()
    assert stream.getvalue().count("\n") == 1 and not [*tmp_path.iterdir()]


SETTINGS: dict[str, Callable[[], object]] = {
    "milestones": lambda: OptimizerConfig(schedule="step", milestones=(-1, 2)),
    "knots": lambda: OptimizerConfig(epochs=1, schedule="linear", knots=((0, math.inf), (1, 0.0))),
    "optimizer.accumulate": lambda: TrainConfig(
        workers=2, optimizer=OptimizerConfig(accumulate=26)
    ),
    "stopping.rungs": lambda: SweepConfig(
        base=TrainConfig(optimizer=OptimizerConfig(epochs=3)), stopping=StoppingConfig(rungs=(4,))
    ),
    "concurrency": lambda: Resources(concurrency=0),
    "pictures": lambda: ShowcaseConfig(pictures=0),
    "epochs": lambda: OptimizerConfig(epochs="many"),  # type: ignore[arg-type]
    "decay_norm": lambda: OptimizerConfig(decay_norm="yes"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be "):
        SETTINGS[name]()


def test_rungs_may_lie_beyond_where_the_number_of_epochs_is_searched() -> None:
    thrm = recipes.thrm("tiny")
    space = (Dimension.parse("optimizer.epochs=1:90"),)
    last = SweepConfig(base=thrm.base, space=space, stopping=StoppingConfig(rungs=(80,)))
    assert last.stopping.rungs == (80,)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///x?mode=memory"])
def test_a_database_that_is_lost_at_the_end_is_refused(url: str, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DB", url)
    with pytest.raises(StorageError, match="is lost when the command ends"):
        _place()


def test_the_switch_of_captures_is_read_on_a_cpu_too(monkeypatch) -> None:
    double = captured(lambda x: 2 * x)
    assert double(torch.ones(1)) == 2
    monkeypatch.setenv("FFTUNE_CAPTURE", "maybe")
    with pytest.raises(ConfigError, match="FFTUNE_CAPTURE must be on or off, got 'maybe'"):
        double(torch.ones(1))
