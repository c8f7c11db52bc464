"""Files of users' that fail in every way: one line names the file, whatever it raises."""

import contextlib
import io
from pathlib import Path

import pytest

from fftune import registry
from fftune.cli import evaluate, sweep, train
from fftune.cli.edge import ended

RAISES = {
    "an error": "raise ValueError('bad\\nday')",
    "SystemExit": "raise SystemExit(0)",
    "quit": "quit()",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "recursion": "def f(): f()\nf()",
    "memory": "raise MemoryError",
    "syntax": "def f(:",
    "no text": b"\xff\xfe\x00",
    "a NUL": b"x = 1\0",
    "import": "import nosuchmodule",
    "file": "open('/nosuch/file')",
    "generator": "raise GeneratorExit",
    "warning": "import warnings; warnings.warn('w'); raise Warning('w')",
    "unprintable": "class E(Exception):\n    def __str__(self): raise ValueError\nraise E",
}
REGISTRIES = {
    name: table for name, table in vars(registry).items() if isinstance(table, registry.Registry)
}
FORWARDS = {
    "raises": "raise ValueError('bad day')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "recurs": "return self(x)",
    "none": "return None",
    "text": "return 'x'",
    "whole numbers": "return torch.zeros(len(x), 10).long()",
    "one image": "return torch.zeros(1, 10) + 0 * x.sum()",
    "a dictionary": "return {'out': x}",
}
NET = """import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
    def forward(self, x):
        {body}
def net():
    return Net()
"""


def one_line(work, name: str) -> None:
    """Exit code 2, and one line that names the user's file."""
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream):
        code = ended(work)
    lines = [line for line in stream.getvalue().splitlines() if line.startswith("fftune: ")]
    assert (code, len(lines)) == (2, 1), stream.getvalue()
    assert "Traceback" not in stream.getvalue()
    assert name in lines[0]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, root: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    return tmp_path


def write(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.some(60)
@pytest.mark.parametrize("how", RAISES)
@pytest.mark.parametrize("kind", REGISTRIES)
def test_a_file_of_any_registry(kind: str, how: str, here: Path) -> None:
    write(here / "mine.py", RAISES[how])
    one_line(lambda: REGISTRIES[kind]["mine.py:thing"] and None, "mine.py")


@pytest.mark.some(4)
@pytest.mark.parametrize("how", RAISES)
def test_a_recipe_or_a_net_that_fails(how: str, here: Path) -> None:
    write(here / "mine.py", RAISES[how])
    one_line(lambda: train.main(["mine.py"]), "mine.py")
    one_line(lambda: sweep.main(["mine.py"]), "mine.py")
    one_line(lambda: evaluate.main(["--model", "mine.py:net"]), "mine.py")
    if isinstance(RAISES[how], str) and how != "syntax":
        body = str(RAISES[how]).replace("\n", "\n    ")
        write(here / "late.py", f"def recipe(scale):\n    {body}\n")
        one_line(lambda: sweep.main(["late.py"]), "late.py")


@pytest.mark.parametrize("returned", ["None", "3", "'x'", "[]", "object()", "recipe", "{}"])
def test_a_recipe_that_returns_something_else(returned: str, here: Path) -> None:
    write(here / "mine.py", f"def recipe(scale):\n    return {returned}\n")
    one_line(lambda: train.main(["mine.py"]), "mine.py")
    one_line(lambda: sweep.main(["mine.py"]), "mine.py")


@pytest.mark.some(4)
@pytest.mark.parametrize("how", FORWARDS)
def test_a_net_that_answers_wrongly(how: str, here: Path) -> None:
    write(here / "mine.py", NET.format(body=FORWARDS[how]))
    few = ["--data", "digits", "--examples", "4", "--battery.steps", "1"]
    one_line(lambda: evaluate.main(["--model", "mine.py:net", *few]), "")
