"""Files of the user's: their end is an error of theirs, and their words are not ours."""

import copy
import signal
import sys
from pathlib import Path

import pytest

from fftune import recipes
from fftune.cli.evaluate import main
from fftune.cli.options import run
from fftune.code_text import written_code
from fftune.config import BatteryConfig, DataSpec, ModelSpec, ThreatModel
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.evaluate import evaluate
from fftune.models import load_model
from fftune.training.train import train
from fftune.user_code import answering, local_code
from tests.forked import module
from tests.training.tinies import tiny

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


def test_thousands_of_installed_modules_are_not_looked_up_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text(NET)
    load_model(ModelSpec(factory=f"{tmp_path / 'mine.py'}:net"))
    code, resolve, asked = local_code(tmp_path / "mine.py"), Path.resolve, []
    monkeypatch.setattr(Path, "resolve", lambda path: asked.append(path) or resolve(path))
    assert local_code(tmp_path / "mine.py") == code
    assert len(asked) < len(sys.modules) / 3


def test_the_command_ends_with_2_and_says_nothing_else(tmp_path) -> None:
    (tmp_path / "mine.py").write_text(NEEDS + "p.parse_args()\n")
    done = module("fftune.train", str(tmp_path / "mine.py"))
    assert done.returncode == 2 and not done.stdout
    assert len(done.stderr.strip().splitlines()) == 1 and "mine.py" in done.stderr


LEAVES = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.calls = nn.Linear(64, 10), 0
    def forward(self, x):
        self.calls += 1
        {forward}
        return self.fc(x.flatten(1))
    {method}

def net():
    torch.manual_seed(0)
    return Net()
"""
HOOK = "x.requires_grad and x.register_hook(lambda _: sys.exit(0))"
WHERE = {
    "made ready": {"method": "def eval(self): sys.exit(0)"},
    "copied": {"method": "def __deepcopy__(self, memo): sys.exit(0)"},
    "asked once more": {"forward": "if self.calls > 60: sys.exit(0)"},
    "asked for gradients": {"forward": HOOK},
    "hashed": {"method": "def state_dict(self, *_, **__): sys.exit(0)"},
}


def leaving(folder, *, forward: str = "", method: str = "") -> str:
    (folder / "mine.py").write_text(LEAVES.format(forward=forward or "pass", method=method))
    return f"{folder / 'mine.py'}:net"


@pytest.mark.parametrize("where", WHERE)
def test_a_net_that_ends_the_program_is_one_line(where, tmp_path) -> None:
    spec = ModelSpec(factory=leaving(tmp_path, **WHERE[where]))
    battery = BatteryConfig(name="risks", steps=3, examples=8)
    with pytest.raises(ModelError, match=r"^(net|model '.*mine.py:net') ends the .*Exit\(0\)$"):
        evaluate(spec, DataSpec(name="digits"), battery, threat=ThreatModel(), split="test")


def test_a_command_does_not_end_as_done_where_its_net_ends_it(
    tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    net = f"--model={leaving(tmp_path, **WHERE['asked once more'])}"
    with pytest.raises(SystemExit) as ended:
        run(main, [net, "--data=digits", "--examples=8", "--battery=risks", "--battery.steps=3"])
    printed = capsys.readouterr()
    assert ended.value.code == 2 and printed.out == ""
    assert printed.err.splitlines()[-1] == "fftune: net ends the program: SystemExit(0)"


def test_a_net_that_ends_the_program_while_it_trains_is_one_line(tmp_path) -> None:
    forward = "if self.training and self.calls > 9: sys.exit()"
    config = tiny(epochs=1, model=leaving(tmp_path, forward=forward))
    with pytest.raises(ModelError, match=r"^net ends the program: SystemExit\(None\)$"):
        train(config)


def test_what_ray_ends_itself_is_no_fault_of_the_net() -> None:
    """As a node that is taken away does: the trial is to go on elsewhere."""
    outside = {"__name__": "ray._private.worker", "sys": sys}
    exec("def ended(*_): sys.exit(15)", outside)
    with pytest.raises(SystemExit), answering():
        outside["ended"]()


def test_written_code_is_of_all_that_a_file_imports_from_beside_it(tmp_path) -> None:
    """A helper, what that imports back, and a package as a whole; no other file."""
    texts = {
        "net.py": "import os\nfrom helper import K\n",
        "helper.py": "def late():\n    import net, kit.parts\n",
        "kit/__init__.py": "",
        "kit/parts.py": "from . import more\n",
        "kit/more.py": "K = 1\n",
        "other.py": "K = 1\n",
    }
    (tmp_path / "kit").mkdir()
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    first = written_code(tmp_path / "net.py")
    for name, text in texts.items():
        (tmp_path / name).write_text(f"{text}# changed\n")
        assert (written_code(tmp_path / "net.py") == first) == (name == "other.py"), name
        (tmp_path / name).write_text(text)
    assert written_code(tmp_path / "net.py") == first
    (tmp_path / "net.py").write_text("def broken(:\n")
    assert written_code(tmp_path / "net.py") != first
