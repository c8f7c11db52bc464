"""`--dry-run` on named cards, and GPUs that are refused, from the command line."""

import pytest

from fftune.cli.sweep import main as sweep
from fftune.cli.train import Settings, _name
from fftune.cli.train import main as train
from fftune.config import study_of
from fftune.errors import ConfigError


@pytest.mark.some(8)
@pytest.mark.parametrize(
    ("verb", "flags", "message"),
    [
        *(
            (verb, flags, message)
            for verb in (sweep, train)
            for flags, message in [
                (
                    "--dry-run --on h300",
                    "on must be one of h200, h100, a100, l4, got 'h300'; did you",
                ),
                ("--dry-run --on", "on must have a value"),
                ("--dry-run --on gpu", "on must be one of h200, h100, a100, l4, got 'gpu'"),
                ("--on h200", "on must be left out without --dry-run, got 'h200'"),
                ("--dry-run --cards 0", "cards must be >= 1, got 0"),
                ("--dry-run --cards -2", "cards must be >= 1, got -2"),
                ("--dry-run --cards few", "cards must be a whole number, got 'few'"),
                ("--cards 2", "cards must be left out without --dry-run, got 2"),
                ("--dry-run --on h200 --cards 1.5", "cards must be a whole number, got '1.5'"),
                ("--gpus -1", "gpus must be >= 0, got -1"),
                (
                    "--gpus many",
                    "gpus must be auto, a number, or a fraction as in 8/255, got 'many'",
                ),
                ("--gpus nan", "gpus must be finite, got nan"),
            ]
        ),
    ],
)
def test_wrong_cards_are_one_line(verb, flags: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        verb(["thrm", *flags.split()])
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_fewer_cards_than_workers(capsys) -> None:
    words = ["thrm", "--dry-run", "--on", "h200", "--base.workers", "2", "--cards", "1"]
    with pytest.raises(ConfigError, match="^cards must be >= 2, the workers, got 1"):
        sweep(words)


def test_auto_is_a_sweeps(tmp_path) -> None:
    with pytest.raises(ConfigError, match="^gpus must be a number where nothing is searched"):
        train(["standard", "--gpus", "auto", "--storage", str(tmp_path)])


def test_hours_on_a_card_that_is_not_here(capsys) -> None:
    sweep(["thrm", "--dry-run", "--on", "h100", "--cards", "3", "--gpus", "auto"])
    *_, passes, hours, source = capsys.readouterr().out.splitlines()
    assert passes.startswith("9 trials, ")
    assert hours == "estimate: 3 H100s under 0.01 h"
    assert source.startswith("from a plain loop on one H200, fp32, not from fftune's: crafting 52")
    assert "scaled to H100 by published peak and bandwidth" in source
    train(["thrm", "--dry-run", "--on", "h200"])
    assert "1 H200 under 0.01 h" in capsys.readouterr().out


SET = "synthetic:shape=1x8x8,classes=4,train=200,test=40"


def test_a_sweep_takes_what_follows_from_its_data_and_its_split(capsys) -> None:
    sweep(["thrm", "--data", SET, "--selection=test", "--dry-run", "--on=h100"])
    said = capsys.readouterr().out
    config = study_of(said[: said.rindex("}") + 1])
    assert (config.base.data.name, config.base.data.validation_size) == (SET, 0)
    assert config.name.startswith("thrm-tiny-synthetic") and config.selection == "test"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--selection tset", "selection must be one of validation, test, got 'tset'"),
        ("--data", "base.data.name must have a value"),
        ("--dta svhn", "unknown flag --dta; did you mean"),
    ],
)
def test_what_a_front_follows_is_checked(flags: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        sweep(["thrm", *flags.split(), "--dry-run"])
    assert str(refused.value).startswith(message)


def test_runs_of_other_seeds_have_other_names() -> None:
    names = [_name("standard", Settings(seed=seed)) for seed in (0, 4)]
    assert names == ["standard-tiny", "standard-tiny-seed-4"]
    assert _name("thrm", Settings(lam=20.0)) == "thrm-tiny-lam-20"
