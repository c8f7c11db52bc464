import json
from xml.etree import ElementTree

import pytest

from fftune.cli.gate import main, margins_of
from fftune.errors import ConfigError, DataError, ModelError, UserError
from tests.two_nets import AFTER, BEFORE, net

FILE = """
import torch
from torch import nn

def one():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def two():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Folder of results."""
    folder = tmp_path / "results"
    folder.mkdir()
    monkeypatch.setenv("FFTUNE_STORAGE", str(folder))
    return folder


@pytest.fixture
def rows(tmp_path, root):
    """A command about two files of rows, `before` and `after`."""
    BEFORE.write(tmp_path / "before.parquet")
    AFTER.write(tmp_path / "after.parquet")

    def run(*flags: str, names: tuple[str, ...] = ("before.parquet", "after.parquet")) -> int:
        with pytest.raises(SystemExit) as left:
            main([*(str(tmp_path / name) for name in names), *flags])
        return int(left.value.code)

    return run


def test_rows_are_compared_and_a_ci_can_read_it(rows, tmp_path, capsys) -> None:
    file = tmp_path / "gate.xml"
    margin = ["--margin", ".9", "accuracy=0", "--junit", str(file)]
    assert rows(*margin) == 4
    said = capsys.readouterr().out
    assert said.startswith("INCONCLUSIVE: after after before\n")
    (suite,) = ElementTree.parse(file).getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("4", "1")
    # Its own file is replaced.
    assert rows(*margin, "--format", "json", "--measure", "robust_accuracy", "accuracy") == 4
    told = json.loads(capsys.readouterr().out)["gate"]
    assert [one["outcome"] for one in told["measures"]] == ["pass", "inconclusive"]
    assert [one["margin"] for one in told["measures"]] == [0.9, 0]


def test_the_exit_code_is_the_verdict(rows, tmp_path) -> None:
    net(range(900), n=1000).write(tmp_path / "good.parquet")
    net(range(800), n=1000).write(tmp_path / "bad.parquet")
    few = ["--margin", ".01", "--measure", "accuracy"]
    assert rows(*few, names=("good.parquet", "bad.parquet")) == 3
    assert rows(*few, names=("bad.parquet", "good.parquet")) == 0


def test_folders_and_names_of_rows_are_found(rows, root, tmp_path, capsys) -> None:
    (tmp_path / "folder").mkdir()
    AFTER.write(tmp_path / "folder" / "a.parquet")
    (root / "rows").mkdir(exist_ok=True)
    BEFORE.write(root / "rows" / "old.parquet")
    with pytest.raises(SystemExit):
        main(["old", str(tmp_path / "folder"), "--margin", ".1"])
    assert capsys.readouterr().out.startswith("INCONCLUSIVE: folder after old\n")


def test_two_nets_are_attacked_alike(tmp_path, root, capsys) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    nets = [f"{tmp_path / 'mine.py'}:{name}" for name in ("one", "two")]
    few = ["--battery.steps", "2", "--examples", "40", "--eps", "0.1", "--data", "digits"]
    with pytest.raises(SystemExit) as left:
        main([*nets, *few, "--margin", ".999"])
    said = capsys.readouterr().out
    assert said.startswith("PASS: ") and "digits, test, linf, eps 0.1, n = 40 images" in said
    assert left.value.code == 0


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "margin of accuracy is missing"),
        (["--margin", "accuracy=.1"], "margin of robust_accuracy is missing"),
        (["--margin", "2"], "margin must be a share in [0, 1)"),
        (["--margin", "some"], "margin must be a share, as in .01, got 'some'"),
        (["--margin", ".1", ".2"], "margin must be said once"),
        (["--margin", "acc=.2"], "margin must be one of accuracy"),
        (["--margin", "accuracy=.2", "--measure", "robust_accuracy"], "margin must be of a meas"),
        (["--margin", ".1", "--measure", "natural_risk"], "measure must be one of"),
        (["--margin", ".1", "--battery", "nine"], "battery.name must be left out for rows"),
        (["--margin", ".1", "--weights", "a.pt"], "weights must be two files"),
        (["--margin", ".1", "--junit", "/nowhere/at/all.xml"], "junit must be a file in a folder"),
        (
            ["--margin", ".1", "--junit", __file__],
            "test_gate_command.py' is no JUnit file and would",
        ),
        (["--margin", ".1", "--split", "train"], "are not of split train, only of test"),
    ],
)
def test_wrong_flags_are_refused(flags, line, tmp_path, root) -> None:
    BEFORE.write(tmp_path / "before.parquet")
    names = [str(tmp_path / "before.parquet")] * 2
    with pytest.raises(UserError) as refused:
        main([*names, *flags])
    assert str(refused.value).startswith(line) or line in str(refused.value)


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["before.parquet"], ConfigError),
        (["before.parquet"] * 3, ConfigError),
        (["before.parquet", "nowhere"], ModelError),
        (["before.parquet", "torn.parquet"], DataError),
        (["before.parquet", "empty"], ModelError),
    ],
)
def test_wrong_nets_are_refused(names, error, tmp_path, root, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    BEFORE.write(tmp_path / "before.parquet")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "before.parquet").read_bytes()[:-40])
    (tmp_path / "empty").mkdir()
    with pytest.raises(error):
        main([*names, "--margin", ".1"])


def test_margins_are_read_as_they_are_typed() -> None:
    both = ("accuracy", "robust_accuracy")
    assert margins_of((".01", "robust_accuracy=1/50"), both) == {
        "accuracy": 0.01,
        "robust_accuracy": 0.02,
    }
