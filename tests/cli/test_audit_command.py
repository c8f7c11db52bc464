"""`fftune audit`: exit codes that are verdicts, mistakes and crashes that are none."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.auditing.record import AuditRecord
from fftune.cli.audit import main
from fftune.cli.options import as_named
from fftune.config import from_json
from tests.fuzz.said import Said

NET = """
import os, time
import torch
from torch import nn

class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        if os.environ.get("MISCHIEF") and len(x) == 16 and x.requires_grad:
            eval(os.environ["MISCHIEF"])
        return x.flatten(1) @ self.weight

def net():
    return Linear()
"""
FLAGS = ("--data", "digits", "--battery", "risks", "--battery.block-size", "16", "--eps", ".05")
HIGH, LOW = "hypocritical_risk=.95", "hypocritical_risk=.05"
"""Bars that this net, which guesses, keeps to and does not."""


@pytest.fixture
def net(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    (tmp_path / "mine.py").write_text(NET)
    return f"{tmp_path / 'mine.py'}:net"


def told(net: str, *words: str) -> Said:
    arguments = ["--model", net, *FLAGS, *words]
    return Said(lambda: as_named(main, arguments))


@pytest.mark.some(2)
@pytest.mark.parametrize(
    ("bars", "code", "word"),
    [
        (["--bar", HIGH], 0, "PASS"),
        (["--bar", LOW, "--bar", "accuracy=.01"], 3, "FAIL"),
        (["--bar", "hypocritical_risk=.3", "--examples", "16"], 4, "INCONCLUSIVE"),
    ],
)
def test_the_exit_code_is_the_verdict(net: str, root: Path, bars, code: int, word: str) -> None:
    said = told(net, *bars)
    assert said.code == code, said.err
    assert said.out.startswith(word)
    (folder,) = root.glob("audits/*")
    record = AuditRecord.read(folder / "audit.json")
    assert record.exit_code == code and record.sentence in said.out
    page = (folder / "audit.html").read_text()
    assert word in page and "data unsigned" in page.lower()
    assert "http://" not in page and "https://" not in page and "<script" not in page


def test_flags_win_over_a_file_of_bars(net: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    file.write_text('examples = 16\n[bars]\nhypocritical_risk = 0.05\naccuracy = "1/100"\n')
    alone = told(net, "--bars", str(file), "--format", "json")
    assert json.loads(alone.out)["examples"] == 16 and alone.code in (3, 4)
    both = told(net, "--bars", str(file), "--bar", HIGH, "--examples", "999", "--format", "json")
    record = json.loads(both.out)
    assert both.code == 0 and record["examples"] == 999
    assert {f["measure"]: f["bar"] for f in record["findings"]} == {
        "hypocritical_risk": 0.95,
        "accuracy": 0.01,
    }


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ([], "bar is missing"),
        (["--bar", "hypocritcal_risk=.3"], "did you mean 'hypocritical_risk'"),
        (["--bar", "accuracy=95"], "bar accuracy must be a share in [0, 1]"),
        (["--bar", "accuracy"], "RATE=SHARE"),
        (["--bar", "accuracy=.9", "--bar", "accuracy=.8"], "once for each rate"),
        (["--bar", "accuracy=much"], "a number or a fraction"),
        (["--bar", "accuracy=.9", "--alpha", "1"], "alpha must be"),
        (["--bar", HIGH, "--battery", "autoattack"], "battery.name must be one that attacks as"),
        (["--bar", HIGH, "--out", "nowhere/deep/out"], "out: there is no folder"),
        (["--bars", "gone.toml"], "gone.toml"),
        (["--bar", HIGH, "--signature", "x.json.sig"], "public_key"),
    ],
)
def test_a_mistake_is_one_line_and_no_verdict(net: str, words: list[str], rule: str) -> None:
    said = told(net, *words)
    assert said.code == 2 and said.out == ""
    assert rule in said.lines[-1], said.lines


def test_a_bar_file_is_refused_by_its_name(net: str, tmp_path: Path) -> None:
    file = tmp_path / "audit.toml"
    for text, rule in (
        ("exampels = 3", "did you mean 'examples'"),
        ("[bars]\naccuracy = true", "a number or a fraction"),
        ("bars = 3", "a table [bars]"),
        ("[bars", "is not TOML"),
        ("eps = [1]", "eps must be a text or a number"),
    ):
        file.write_text(text)
        said = told(net, "--bars", str(file))
        assert said.code == 2 and "audit.toml" in said.lines[-1] and rule in said.lines[-1]


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("mischief", "code"),
    [("1 / 0", 2), ("exit(0)", 2), ("x.cow()", 2)],
    ids=["error", "exit 0", "defect"],
)
def test_a_crash_is_no_verdict(net: str, root: Path, monkeypatch, mischief: str, code: int) -> None:
    monkeypatch.setenv("MISCHIEF", mischief)
    said = told(net, "--bar", HIGH)
    assert said.code == code and said.code not in (0, 3, 4) and said.out == ""
    assert not list(root.glob("audits/*"))
    kept = len(list(root.glob("blocks/*/*.parquet")))
    monkeypatch.delenv("MISCHIEF")
    assert kept > 0 and told(net, "--bar", HIGH).code == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_between_blocks_it_ends_alike(net: str, root: Path, tmp_path: Path) -> None:
    """SIGKILL when some blocks were kept; the second run ends as one that was never killed."""
    calm = tmp_path / "calm"
    calm.mkdir()
    bar = ("--bar", "hypocritical_risk=.3", "--format", "json")
    undisturbed = told(net, *bar, "--storage", str(calm))
    command = [sys.executable, "-m", "fftune.audit", "--model", net, *FLAGS, *bar]
    slow = os.environ | {"MISCHIEF": "time.sleep(.05)"}
    process = subprocess.Popen(command, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    clean = len(list(calm.glob("blocks/*/*"))) - attacked(undisturbed)
    while len(list(root.glob("blocks/*/*.parquet"))) <= clean + 1:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and process.stdout.read() == b""
    assert not list(root.glob("audits/*"))
    again = told(net, *bar)
    assert again.code == undisturbed.code
    first, second = (from_json(AuditRecord, one.out) for one in (undisturbed, again))
    assert replace(first, created="", command="") == replace(second, created="", command="")


def attacked(said: Said) -> int:
    """Blocks of 16 that were attacked."""
    return -(-json.loads(said.out)["findings"][0]["examined"] // 16)
