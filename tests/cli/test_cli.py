"""The command line as a user meets it."""

import importlib
import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from fftune.cli.options import parse, run
from fftune.cli.verbs import VERBS
from fftune.config import AttackConfig, DefenseConfig, Dimension, ThreatModel
from fftune.errors import ConfigError
from tests.forked import module

ROOT = Path(__file__).parents[2]


MISTAKES = [
    (["thmr"], "recipe 'thmr' does not exist; did you mean 'thrm'"),
    (["nowhere.py"], "recipe 'nowhere.py' does not exist"),
    (["thrm", "--trails", "3"], "did you mean --trials?"),
    (["thrm", "--base.attack.stps", "3"], "--base.attack.steps"),
    (["thrm", "--lam", "-1"], "lam must be >= 0 and finite, got -1"),
    (["thrm", "--lam", "5"], "lam must be a range of at least two values"),
    (["thrm", "--base.lam", "5"], "base.lam must be left to the search"),
    (["thrm", "--base.attack.threat.eps", "2"], "base.attack.threat.eps must be <= 1"),
    (["thrm", "--base.attack.threat.eps=-1"], "base.attack.threat.eps must be finite and >= 0"),
    (["thrm", "--base.attack.threat.eps", "8/0"], "base.attack.threat.eps must be a number, or a"),
    (["thrm", "--base.attack.threat.eps", "8/"], "a fraction as in 8/255, got '8/'"),
    (["thrm", "--base.attack.threat.eps", "1e-400"], "a fraction as in 8/255, got '1e-400'"),
    (["thrm", "--base.attack.step-size", "a/255"], "base.attack.step_size must be a number, or"),
    (["thrm", "--base.attack.threat.eps", "2/1"], "base.attack.threat.eps must be <= 1 for linf"),
    (["thrm", "--space", "attack.threat.eps=2/255:8/0"], "must have numbers as ends"),
    (["thrm", "--battery.steps", "-3"], "battery.steps must be >= 0, got -3"),
    (["thrm", "--trials", "many"], "trials must be a whole number, got 'many'"),
    (["thrm", "--trials"], "trials must have a value"),
    (["thrm", "5"], "unexpected argument '5'"),
    (["thrm", "--strategy", "gab"], "unknown strategy 'gab'; did you mean 'gap'?"),
    (["thrm", "--strategy", "nowhere.py:mine"], "there is no file '/"),
    (["thrm", "--scale", "huge"], "tiny"),
    (["thrm", "--base.data.name", "digit"], "no data set 'digit'; did you mean 'digits'"),
    (["thrm", "--base.model", "small_cn"], "did you mean 'small_cnn'"),
    (["thrm", "--base.optimizer.batch-size", "101"], "batch_size must be <= train_size 100"),
    (["thrm", "--space", "lam=5:1"], "space: lam must be a range with low < high, got (5.0, 1.0)"),
    (["thrm", "--space", "lam"], "space must be PATH=LOW:HIGH[:SCALE]"),
    (["thrm", "--space", "lam=0:9", "optimizer.lrr=0.1:0.2"], "did you mean 'optimizer.lr'?"),
    (
        ["thrm", "--strategy=gap", "--space", "lam=0:9", "optimizer.lr=0.1:0.2"],
        "one range of float",
    ),
    (["thrm", "--storage", "/nowhere"], "storage '/nowhere' does not exist"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys) -> None:
    from fftune.cli.sweep import main

    storage = [] if "--storage" in arguments else ["--storage", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        run(main, [*arguments, "--backend", "inline", *storage])
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.err.count("\n") == 1
    assert said.err.startswith("fftune: ")
    assert message in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_same_from_a_shell() -> None:
    command = [sys.executable, "-m", "fftune.sweep", "thrm", "--lam", "-1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fftune: lam must be >= 0 and finite, got -1.0\n"


def test_unknown_studies(tmp_path) -> None:
    done = module("fftune.report", "thrm-tiny", "--storage", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "fftune: study 'thrm-tiny' has no front; known: none\n"


def test_dry_run_prints_settings_and_cost() -> None:
    done = module("fftune.sweep", "thrm", "--dry-run", "--trials", "4")
    assert done.returncode == 0, done.stderr
    settings, cost = done.stdout.rsplit("}\n", 1)
    assert json.loads(settings + "}")["trials"] == 4
    assert cost.startswith("4 trials, ")


@pytest.mark.parametrize(
    "arguments",
    [["fftune.sweep", "--help"], ["fftune.sweep", "thrm", "--help"], ["fftune.report", "--help"]],
)
def test_help_answers_without_the_heavy_frameworks(arguments) -> None:
    """Without torch, ray, mlflow and optuna at all, and soon.

    On an idle core it takes .4 to .6 s; a machine that is busy, or slow, is measured by what the
    parsers' own library takes beside it, which is .23 s on that core.
    """
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'plotly'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )

    def seconds(code: str) -> float:
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "usage" in done.stdout or "runpy" not in code
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began

    pairs = ((seconds(code), seconds("import tyro")) for _ in range(3))
    assert any(help_ < 4 * library for help_, library in pairs)


def test_a_storage_that_is_missing_is_told_before_the_long_imports() -> None:
    code = (
        "import importlib, sys\n"
        "from fftune.errors import StorageError\n"
        "words = ['sweep thrm', 'train thrm', 'report a', 'evaluate --model a.py:b']\n"
        "for verb, *more in map(str.split, words):\n"
        "    try: importlib.import_module(f'fftune.cli.{verb}').main([*more, '--storage', '/no'])\n"
        "    except StorageError as error: print(verb, error)\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'plotly'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = "storage '/no' does not exist; `mkdir -p /no` makes it, or name another"
    verbs = ("sweep", "train", "report", "evaluate")
    assert done.stdout.splitlines() == [f"{verb} {told}" for verb in verbs]


@dataclass(frozen=True, kw_only=True)
class Everything:
    """Settings with a radius, at every depth that a command has them."""

    threat: Annotated[ThreatModel, tyro.conf.arg(name="")] = field(default_factory=ThreatModel)
    attack: AttackConfig = field(default_factory=AttackConfig)
    defense: DefenseConfig = field(default_factory=DefenseConfig)
    lam: float = 1.0


@pytest.mark.parametrize(
    ("flag", "read"),
    [
        ("--eps", lambda found: found.threat.eps),
        ("--attack.threat.eps", lambda found: found.attack.threat.eps),
        ("--attack.step-size", lambda found: found.attack.step_size),
        ("--defense.eps-d", lambda found: found.defense.eps_d),
        ("--lam", lambda found: found.lam),
    ],
)
def test_a_number_may_be_a_fraction(flag: str, read: Callable[[Everything], float]) -> None:
    hedged = ["--defense.names", "hedge"]
    for text, value in {"8/255": 8 / 255, "2/255": 2 / 255, "0.5/1": 0.5, ".25": 0.25}.items():
        assert read(parse(Everything, [flag, text], prog="x")) == value
        given = [f"{flag}={text}", *hedged]
        assert read(parse(Everything, given, prog="x", default=Everything())) == value
    for text in ("8/0", "8/", "/255", "a/255", "8/255/2", "1 /0"):
        path = flag[2:].replace("-", "_")
        said = f"{path} must be a number, or a fraction as in 8/255, got {text!r}"
        with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
            parse(Everything, [flag, text], prog="x", default=Everything())


def test_ends_of_a_search_may_be_fractions() -> None:
    found = Dimension.parse("attack.threat.eps=2/255:16/255")
    assert (found.low, found.high) == (2 / 255, 16 / 255)
    assert Dimension.parse("eps_d=4/255,8/255").choices == (4 / 255, 8 / 255)
    assert Dimension.parse("objective=thrm,trades").choices == ("thrm", "trades")


def test_help_prints_radii_as_they_are_typed(capsys) -> None:
    with pytest.raises(SystemExit):
        parse(Everything, ["--help"], prog="x", default=Everything(lam=0.2))
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("(default: 8/255)") == 2  # both balls, as they are typed
    assert "(default: 0.2)" in said and "--quiet" in said and "--log-level" in said


@pytest.mark.parametrize(
    ("flags", "lines"),
    [
        ([], "iwe"),
        (["--quiet"], "we"),
        (["--offline"], "iwe"),
        (["--log-level", "debug"], "diwe"),
        (["--log-level=error"], "e"),
    ],
)
def test_every_verb_takes_the_flags_of_the_log(flags: list[str], lines: str, capsys) -> None:
    log = logging.getLogger("fftune.tests")
    given: list[str] = []

    def command(arguments: Sequence[str]) -> None:
        given.extend(arguments)
        for level, line in zip((10, 20, 30, 40), "diwe", strict=True):
            log.log(level, "line %s", line)
        logging.getLogger("other").info("noise")
        print("result")

    with unset_log(), pytest.raises(SystemExit):
        run(command, ["thrm", *flags, "--lam", "6"])
    said = capsys.readouterr()
    assert given == ["thrm", "--lam", "6"] and said.out == "result\n"
    assert [line[-1] for line in said.err.splitlines()] == [*lines]


@contextmanager
def unset_log() -> Iterator[None]:
    """Let `run` set the log up as in a fresh process."""
    root, ours = logging.getLogger(), logging.getLogger("fftune")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        ours.setLevel(levels[1])


@pytest.mark.parametrize("verb", VERBS)
def test_after_ctrl_c_no_verb_promises_a_flag_that_it_lacks(verb: str, capsys) -> None:
    def command(_arguments) -> None:
        signal.raise_signal(signal.SIGINT)

    command.__module__ = f"fftune.cli.{verb}"
    with pytest.raises(SystemExit) as stop:
        run(command, [])
    assert stop.value.code == 130
    said = capsys.readouterr().err
    assert said.startswith("fftune: interrupted; ") and said.count("\n") == 1
    classes = vars(importlib.import_module(command.__module__)).values()
    resumes = any("resume" in getattr(one, "__dataclass_fields__", ()) for one in classes)
    assert ("--resume" in said) == resumes


def test_the_top_level_command() -> None:
    script = Path(sys.executable).with_name("fftune")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    shown = subprocess.run([script], capture_output=True, text=True, env=env)
    assert shown.returncode == 2
    assert "sweep" in shown.stdout and "--quiet" in shown.stdout
    assert shown.stdout.splitlines()[0] == "usage: fftune VERB ..."
    assert module("fftune.cli").stdout.splitlines()[-1] == shown.stdout.splitlines()[-1]
    wrong = subprocess.run([script, "swep"], capture_output=True, text=True, env=env)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "fftune: unknown verb 'swep'; did you mean 'sweep'?\n"
