"""Commands that other commands print, typed into a shell as they are printed.

A storage with spaces in its name, so that what is not quoted fails.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from fftune.cli.train import parsed
from fftune.cli.train_command import train_command
from tests.patience import free_ports

ROOT = Path(__file__).parents[2]
PROGRAMS = str(Path(sys.executable).parent)
FEW = "--base.model mlp --base.width 4 --base.optimizer.epochs 1 --base.attack.steps 2"
COMMANDS = {
    "train thrm --scale tiny --lam 5 --model mlp --width 4 --attack.steps 2 --optimizer.epochs 1 "
    "--name first": 0,
    f"sweep thrm --scale tiny --trials 2 --backend inline {FEW} --battery.steps 2 "
    "--battery.examples 20": 0,
    "report thrm-tiny": 0,
    "report first": 2,
    "view first": 2,
    "evaluate first --battery risks --examples 20 --save-images saved": 0,
    "report --table defenses first": 2,
    "view thrm-tiny": 0,
    "reproduce P1.T15 --scale tiny": 0,
}
"""Commands that are typed first, with their exit codes."""
PRINTED = re.compile(r"(?:`|after: |again: |^)((?:fftune|mlflow) [a-z][^`\n]*)", re.MULTILINE)
BESIDE = {"fftune evaluate NET --defense NAME": "fftune evaluate first --defense random"}
"""What stands for a name of the user's, in capitals."""


class Shell:
    """A shell in a folder of its own, whose `PATH` has this environment's programs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "my results"
        self.store.mkdir()
        (self.port,) = free_ports(1)
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW")} | {
            "FFTUNE_STORAGE": str(self.store),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "MLFLOW_PORT": str(self.port),
        }

    def types(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            line,
            shell=True,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )

    def serves(self, line: str) -> bool:
        """Type a line that starts a server; ask that for its page, and end it."""
        with subprocess.Popen(
            f"exec {line}",
            shell=True,
            cwd=self.folder,
            env=self.environment,
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                while server.poll() is None:
                    try:
                        with urlopen(f"http://127.0.0.1:{self.port}/") as page:
                            return bool(page.status == 200)
                    except (URLError, ConnectionError):
                        continue  # not yet
            finally:
                server.terminate()
        return False


def printed(text: str) -> list[str]:
    """The commands in a text, as they would be typed."""
    found = (BESIDE.get(line.strip(), line.strip()) for line in PRINTED.findall(text))
    return list(dict.fromkeys(found))


def test_commands_are_found_wherever_they_are_printed() -> None:
    text = (
        "fronts x\n        after: mlflow ui --a 'b c'\n'a'; `fftune data list` and `fftune view`\n"
    )
    assert printed(text) == ["mlflow ui --a 'b c'", "fftune data list", "fftune view"]
    assert printed("fftune: no such thing\nusage: fftune VERB") == []
    assert printed("see `fftune evaluate NET --defense NAME`") == [*BESIDE.values()]


@pytest.mark.slow
@pytest.mark.timeout(3600)  # some twenty commands, each of which starts Python
def test_each_line_that_is_printed_runs(tmp_path) -> None:
    shell, lines = Shell(tmp_path), []
    for command, code in COMMANDS.items():
        done = shell.types(f"fftune {command}")
        assert done.returncode == code, done.stderr
        lines += printed(done.stdout + done.stderr)
    view = (shell.store / "studies/thrm-tiny/view/data.js").read_text(encoding="utf-8")
    lines += re.findall(r'"(fftune [^"]*)"', view)
    verbs = {" ".join(line.split()[:2]) for line in lines}
    assert verbs >= {"mlflow ui", "fftune evaluate", "fftune report", "fftune train"}
    for line in dict.fromkeys(lines):
        if line.startswith("mlflow ui"):
            assert shell.serves(line), line
        else:
            done = shell.types(line)
            assert done.returncode == 0, (line, done.stderr)


def test_a_training_is_typed_again_with_its_own_line(tmp_path) -> None:
    """What a view prints of a trial whose net comes from a file with spaces in its name."""
    file = tmp_path / "my net's.py"
    file.write_text(
        "from torch import nn\n\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    asked = ["thrm", "--scale", "tiny", "--lam", "0.1", "--model", f"{file}:net"]
    asked += ["--optimizer.epochs", "1", "--attack.steps", "1"]
    config = parsed(asked).config
    line = train_command(config)
    stand_in = "fftune() { printf '%s\\n' \"$@\"; }; "
    typed = subprocess.run(
        ["sh", "-c", stand_in + line], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert typed[0] == "train" and parsed(typed[1:]).config == config
