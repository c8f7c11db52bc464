"""A kind of study and a strategy in files of the user's; the data set opened once."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.cli.sweep import main
from fftune.config import study_of
from fftune.data import catalog
from fftune.errors import ConfigError, StudyError
from fftune.report.publish import publish
from fftune.sweeping.front import Front
from fftune.sweeping.sweep import sweep
from tests.sweeping.coins import KIND

STRATEGY = """
from optuna.samplers import RandomSampler

def mine(study):
    return RandomSampler(seed=study.sampler_seed + 1)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "coins.py").write_text(KIND)
    (tmp_path / "strategy.py").write_text(STRATEGY)
    return tmp_path


def test_a_kind_of_the_users_runs_resumes_and_is_reported(own: Path, root: Path, capsys) -> None:
    command = [str(own / "coins.py"), "--backend", "inline", "--storage", str(root)]
    main([*command, "--base.seed", "3"])
    assert "hypocritical risk" in capsys.readouterr().out
    folder = root / "studies" / "coins"
    assert json.loads((folder / "config.json").read_text())["kind"] == f"{own / 'coins.py'}:COINS"
    front = Front.read(folder / "front.json")
    assert [r.seed for r in front.results] == [3] * 4
    assert sorted(r.settings["share"] for r in front.results)[::3] == [0.1, 0.9]  # gap's ends
    main([*command, "--base.seed", "3", "--trials", "5", "--resume"])
    assert len(Front.read(folder / "front.json").results) == 5
    with pytest.raises(StudyError, match="base.seed was 3, now 4"):
        main([*command, "--base.seed", "4", "--trials", "5", "--resume"])


def test_a_strategy_of_the_users(own: Path, root: Path, monkeypatch) -> None:
    monkeypatch.chdir(own)
    flags = ["--strategy", "strategy.py:mine", "--backend", "inline", "--storage", str(root)]
    main(["coins.py", *flags])
    front = Front.read(root / "studies" / "coins" / "front.json")
    assert len({r.settings["share"] for r in front.results}) == 4
    stored = study_of((root / "studies" / "coins" / "config.json").read_text())
    assert stored.strategy == f"{own / 'strategy.py'}:mine"


def test_a_kind_that_is_gone_is_one_line(own: Path, root: Path) -> None:
    main([str(own / "coins.py"), "--backend", "inline", "--storage", str(root)])
    text = (root / "studies/coins/config.json").read_text()
    with pytest.raises(ConfigError, match="there is no file"):
        study_of(text.replace("coins.py", "gone.py"))


@pytest.mark.slow
def test_kinds_are_not_compared(own: Path, quick, root: Path) -> None:
    main([str(own / "coins.py"), "--backend", "inline", "--storage", str(root)])
    sweep(replace(quick, trials=2), root=root, backend="inline")
    with pytest.raises(StudyError, match="each kind has a report of its own"):
        publish(["quick", "coins"], root)


@pytest.mark.slow
def test_a_sweep_opens_its_data_set_once(quick, root: Path, monkeypatch) -> None:
    opened, original = [], catalog.open_parts

    def open_parts(name, *others, **options):
        opened.append(name)
        return original(name, *others, **options)

    monkeypatch.setattr(catalog, "open_parts", open_parts)
    sweep(replace(quick, trials=2), root=root, backend="inline")
    assert opened == ["digits"]
