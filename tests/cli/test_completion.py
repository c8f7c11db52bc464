"""Completion scripts do what they say in the shells that are here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fftune.cli.completion import script
from fftune.cli.verbs import VERBS
from fftune.errors import ConfigError

ROOT = Path(__file__).parents[2]
TYPED = {
    "fftune tr": "train",
    "fftune --vers": "--version",
    "fftune train th": "thrm",
    "fftune train thrm --sca": "--scale",
    "fftune train thrm --scale s": "small",
    "fftune train thrm --norm li": "linf",
    "fftune evaluate net --battery secon": "second_opinion",
    "fftune evaluate net --defense jpeg bit": "bit_depth",
    "fftune evaluate net --help-a": "--help-all",
    "fftune sweep hedge --check": "--checkpoint",
    "fftune report a b --table cert": "certified",
    "fftune data ver": "verify",
    "fftune reproduce P1.T1": "P1.T1 P1.T10 P1.T11 P1.T12 P1.T13 P1.T14 P1.T15 P1.T16",
    "fftune evaluate my/ne": "",
}
COMPLETE = """
complete_line() {
    COMP_WORDS=($1)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _fftune
    echo "${COMPREPLY[*]}"
}
"""


def test_bash_completes_verbs_recipes_flags_and_values() -> None:
    lines = "\n".join(f"complete_line {line!r}" for line in TYPED)
    done = subprocess.run(
        ["bash", "-c", script("bash") + COMPLETE + lines], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert dict(zip(TYPED, done.stdout.splitlines(), strict=True)) == TYPED


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_their_script(shell: str) -> None:
    text = script(shell)
    for word in (*VERBS, "second_opinion", "help-all", "thrm"):
        assert word in text
    if program := shutil.which(shell):
        read = [program, "--no-execute"] if shell == "fish" else [program, "-n"]
        done = subprocess.run(read, input=text, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_fish_quotes() -> None:
    for line in script("fish").splitlines():
        assert line.startswith("complete -c fftune ")
        assert (line.replace("\\'", "").count("'")) % 2 == 0


def test_another_shell_is_one_line() -> None:
    with pytest.raises(ConfigError, match="^print-completion must be a shell, got 'bahs'; did you"):
        script("bahs")


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m fftune --print-completion fish | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "" and done.stdout.splitlines()[1] in ("0", "141")
