"""Files of the user's: their end is an error of theirs, and their words are not ours."""

import copy
import subprocess
import sys

import pytest

from fftune import recipes
from fftune.config import ModelSpec
from fftune.errors import ConfigError, ModelError
from fftune.models import load_model

NET = "from torch import nn\ndef net():\n    return nn.Flatten()\n"
NEEDS = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', required=True)\n"
ENDS = {
    "quit": ("def net(*_): quit()\nrecipe = net\n", "it ends the program: None"),
    "exit at import": ("import sys\nsys.exit('no GPU')\n", "it ends the program: no GPU"),
    "code": ("raise SystemExit(3)\n", "it ends the program: 3"),
    "said before": ("print('no\\nGPU')\nraise SystemExit(1)\n", "it ends the program: GPU"),
    "arguments": (NEEDS + "p.parse_args()\n", "it ends the program: .* required: --lr"),
    "in the function": (
        NEEDS + "def net(*_): p.parse_args()\nrecipe = net\n",
        "it ends the program: .*required: --lr",
    ),
    "raises": ("raise ValueError('bad\\nday')\n", "ValueError: bad$"),
    "in no language": ("def net(:\n", "SyntaxError"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_file_that_ends_the_program_is_named_in_one_line(how, tmp_path, capsys) -> None:
    text, reason = ENDS[how]
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ModelError, match=f"mine.py:net': {reason}") as net:
        load_model(ModelSpec(factory=f"{tmp_path / 'mine.py'}:net"))
    with pytest.raises(ConfigError, match=f"mine.py': {reason}") as recipe:
        recipes.own(str(tmp_path / "mine.py"))("tiny")
    for caught in (net, recipe):
        assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    printed = capsys.readouterr()
    assert not printed.out and "usage" not in printed.err


def test_whoever_interrupts_is_heard(tmp_path) -> None:
    (tmp_path / "mine.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_model(ModelSpec(factory=f"{tmp_path / 'mine.py'}:net"))


def test_arguments_are_ours_and_prints_go_to_stderr(tmp_path, capsys, monkeypatch) -> None:
    """A file whose arguments have defaults gets those, not flags of our command."""
    monkeypatch.setattr(sys, "argv", ["fftune", "--lr", "7"])
    text = NEEDS.replace("required=True", "default='1'") + "print('lr', p.parse_args().lr)\n"
    (tmp_path / "mine.py").write_text(text + NET)
    load_model(ModelSpec(factory=f"{tmp_path / 'mine.py'}:net"))
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == "lr 1\n"
    assert sys.argv == ["fftune", "--lr", "7"]


@pytest.mark.parametrize("name", ["copy", "torch", "json"])
def test_a_net_in_a_file_called_like_a_module_hides_none(name, tmp_path) -> None:
    (tmp_path / f"{name}.py").write_text(NET)
    before = sys.modules.get(name)
    load_model(ModelSpec(factory=f"{tmp_path / name}.py:net"))
    assert sys.modules.get(name) is before and sys.modules["copy"] is copy


def test_the_command_ends_with_2_and_says_nothing_else(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(NEEDS + "p.parse_args()\n")
    command = [sys.executable, "-m", "fftune.train", str(tmp_path / "mine.py")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and "mine.py" in done.stderr
