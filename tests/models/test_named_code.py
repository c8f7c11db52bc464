"""A checkpoint from elsewhere runs no file of Python by itself: only what the user names too."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import fftune as ff
from fftune.cli import data, doctor, evaluate, report, sweep
from fftune.config import DataSpec, Resources, TrainConfig
from fftune.errors import ConfigError, FftuneError, ModelError
from fftune.training.run_dir import RunDir
from fftune.training.tracked import train_tracked

NET = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("burgled").touch()

def net(text=""):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def images():
    Path(__file__).with_name("burgled by data").touch()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, empty_mlflow: Path) -> Path:
    """A checkpoint of a net of the user's, and the net's file, which tells when it is run."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copy(empty_mlflow, root)
    (root / "mine.py").write_text(NET)
    config = TrainConfig(model=f"{root}/mine.py:net", objective="standard")
    optimizer = replace(config.optimizer, epochs=0, schedule="step")
    _, folder = train_tracked(
        replace(config, optimizer=optimizer), name="mine", root=root, resources=Resources(),
        resume=False,
    )  # fmt: skip
    assert (root / "burgled").exists()
    return folder


@pytest.fixture
def elsewhere(trained: Path, empty_mlflow: Path, tmp_path: Path) -> Path:
    """The same checkpoint, run and file, given to somebody else."""
    shutil.copy(empty_mlflow, tmp_path)
    shutil.copytree(trained, tmp_path / "runs/mine")
    (tmp_path / "mine.py").write_text(NET)
    for name in ("checkpoint/model.json", "checkpoint/config.json", "config.json"):
        path = tmp_path / "runs/mine" / name
        path.write_text(path.read_text().replace(str(trained.parents[1]), str(tmp_path)))
    return tmp_path / "runs/mine/checkpoint"


def alter(checkpoint: Path, name: str, *path: str, value: str) -> None:
    data = json.loads((checkpoint / name).read_text())
    place = data
    for key in path[:-1]:
        place = place[key]
    assert path[-1] in place
    place[path[-1]] = value
    (checkpoint / name).write_text(json.dumps(data))


Verb = Callable[[Sequence[str]], None]
WAYS: dict[str, tuple[Verb, list[str]]] = {
    "evaluate": (evaluate.main, ["{0}"]),
    "evaluate a run": (evaluate.main, ["mine"]),
    "doctor": (doctor.main, ["{0}"]),
    "gallery": (report.main, ["--gallery", "{0}"]),
    "hedge study": (sweep.main, ["hedge", "--checkpoint", "{0}", "--backend", "inline"]),
    "poison": (data.main, ["write", "digits", "--kind", "poisoning", "--net", "{0}"]),
    "transfer": (evaluate.main, ["--model", "small_cnn", "--data", "digits", "--transfer", "{0}"]),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_no_command_runs_what_a_checkpoint_alone_names(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    main, words = WAYS[way]
    with pytest.raises(FftuneError, match=r"checkpoint '.*' would run '.*mine.py:net'") as told:
        main([word.format(elsewhere) for word in words])
    assert "if you trust that file" in str(told.value) and told.value.exit_code == 2
    assert not list(tmp_path.glob("burgled*"))


@pytest.mark.parametrize(
    "factory", ["{}/mine.py:net", "{}/mine.py:net:touch burgled", "mine.py:net", "../x.py:y"]
)
def test_python_runs_no_more(
    elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    monkeypatch.chdir(tmp_path)
    alter(elsewhere, "model.json", "factory", value=factory.format(tmp_path))
    for call in (
        lambda: ff.evaluate(elsewhere, examples=10),
        lambda: ff.evaluate(elsewhere, "digits", examples=10),
        lambda: ff.sweep("hedge", net=elsewhere, storage=tmp_path),
    ):
        with pytest.raises(ModelError, match="would run"):
            call()
    assert not list(tmp_path.glob("burgled*"))


def test_data_of_a_file_are_named_too(elsewhere: Path, tmp_path: Path) -> None:
    alter(elsewhere, "config.json", "data", "name", value=f"{tmp_path}/mine.py:images")
    alter(elsewhere, "model.json", "factory", value="fftune:small_cnn")
    flag = rf"would run '{tmp_path}/mine.py:images'.* add --data {tmp_path}/mine.py:images$"
    for call in (
        lambda: evaluate.main([str(elsewhere), "--storage", str(tmp_path)]),
        lambda: report.main(["--gallery", str(elsewhere), "--storage", str(tmp_path)]),
        lambda: sweep.main(["hedge", "--checkpoint", str(elsewhere), "--dry-run"]),
        lambda: ff.evaluate(elsewhere),
        lambda: ff.sweep("hedge", net=elsewhere, storage=tmp_path),
    ):
        with pytest.raises(ModelError, match=flag):
            call()
    assert not list(tmp_path.glob("burgled*"))


def test_what_is_named_runs_wherever_it_lies(
    elsewhere: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").rename(tmp_path / "other.py")
    model, few = f"{tmp_path}/other.py:net", ["--examples", "10", "--battery.steps", "1"]
    evaluate.main([str(elsewhere), "--model", model, "--storage", str(tmp_path), *few])
    assert "n = 10" in capsys.readouterr().out
    assert (tmp_path / "burgled").exists()


def test_a_net_of_ours_takes_no_other_code(elsewhere: Path, tmp_path: Path) -> None:
    alter(elsewhere, "model.json", "factory", value="fftune:small_cnn")
    with pytest.raises(ConfigError, match="^model must be left out for a net of a CHECKPOINT"):
        evaluate.main([str(elsewhere), "--model", f"{tmp_path}/mine.py:net"])


def test_ones_own_run_goes_on_and_is_trained_anew_where_its_net_was_exchanged(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can write to the storage could name other code in a finished run."""
    shutil.copytree(trained, tmp_path / "runs/mine")
    folder = tmp_path / "runs/mine"
    assert RunDir(folder).finished() is not None
    (tmp_path / "theirs.py").write_text(NET)
    alter(folder / "checkpoint", "model.json", "factory", value=f"{tmp_path}/theirs.py:net")
    with pytest.raises(ModelError, match=r"is damaged: its net '.*theirs.py:net' is not that of"):
        RunDir(folder).finished()
    assert not (tmp_path / "burgled").exists()


def test_data_of_a_checkpoint_stay_as_they_are_by_a_relative_name(tmp_path, monkeypatch) -> None:
    from fftune.config.data import of_another

    monkeypatch.chdir(tmp_path)
    spec = DataSpec(name="mine.py:images", train_size=30)
    assert of_another(spec, "mine.py:images") is spec
