"""The command line as a user meets it."""

import importlib
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from fftune.cli.options import VERBS, run

ROOT = Path(__file__).parents[1]


def fftune(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


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
    done = fftune("fftune.sweep", "thrm", "--lam", "-1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fftune: lam must be >= 0 and finite, got -1.0\n"


def test_unknown_studies(tmp_path) -> None:
    done = fftune("fftune.report", "thrm-tiny", "--storage", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "fftune: study 'thrm-tiny' has no front; known: none\n"


def test_dry_run_prints_settings_and_cost() -> None:
    done = fftune("fftune.sweep", "thrm", "--dry-run", "--trials", "4")
    assert done.returncode == 0, done.stderr
    settings, cost = done.stdout.rsplit("}\n", 1)
    assert json.loads(settings + "}")["trials"] == 4
    assert cost.startswith("4 trials, ")


@pytest.mark.parametrize(
    "arguments",
    [["fftune.sweep", "--help"], ["fftune.sweep", "thrm", "--help"], ["fftune.report", "--help"]],
)
def test_help_answers_without_the_heavy_frameworks(arguments) -> None:
    """Under a second of CPU on an idle core; here without torch, ray, mlflow and optuna at all."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'plotly'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 1


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
    told = "storage '/no' does not exist; make it, or name another"
    verbs = ("sweep", "train", "report", "evaluate")
    assert done.stdout.splitlines() == [f"{verb} {told}" for verb in verbs]


@pytest.mark.parametrize("verb", VERBS)
def test_after_ctrl_c_no_verb_promises_a_flag_that_it_lacks(verb: str, capsys) -> None:
    def command(_arguments) -> None:
        raise KeyboardInterrupt

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
    shown = subprocess.run([script], capture_output=True, text=True, cwd=ROOT)
    assert shown.returncode == 2
    assert "sweep" in shown.stdout and "--quiet" in shown.stdout
    assert fftune("fftune.cli").stdout == shown.stdout
    wrong = subprocess.run([script, "swep"], capture_output=True, text=True, cwd=ROOT)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "fftune: unknown verb 'swep'; did you mean 'sweep'?\n"
