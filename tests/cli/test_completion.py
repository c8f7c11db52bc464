"""Completion scripts do what they say in the shells that are here."""

import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from fftune.cli.completion import script
from fftune.cli.verbs import VERBS
from fftune.errors import ConfigError

ROOT = Path(__file__).parents[2]
TYPED = {
    "fftune tr": "train",
    "fftune --vers": "--version",
    "fftune train th": "thrm thrm_all",
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
def test_other_shells_scripts_have_all_words(shell: str) -> None:
    text = script(shell)
    for word in (*VERBS, "second_opinion", "help-all", "thrm"):
        assert word in text


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_them_too(tmp_path) -> None:
    lines = [f"string join -- ' ' (complete -C '{line}' | string split -f1 \\t)" for line in TYPED]
    done = subprocess.run(
        ["fish", "--no-config", "-c", "\n".join([script("fish"), *lines])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stderr == ""
    assert dict(zip(TYPED, done.stdout.split("\n"), strict=False)) == TYPED


ZSH = """
PS1= RPS1=
{script}
tell() {{
    zle expand-or-complete
    print -r -- "$BUFFER" >> {told}
    BUFFER=
}}
zle -N tell
bindkey '^I' tell
echo re""ady
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_what_has_one_end(tmp_path) -> None:
    file, told = tmp_path / "script.zsh", tmp_path / "told"
    file.write_text(ZSH.format(script=script("zsh"), told=told))
    typed = {line: words for line, words in TYPED.items() if len(words.split()) == 1}
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execlp("zsh", "zsh", "-i", "+o", "globalrcs")
    screen = b""
    os.write(terminal, f"source {file}\n".encode())
    while b"ready\r\n" not in screen:
        screen += os.read(terminal, 1000)
    for line in typed:
        os.write(terminal, f"{line}\t".encode())
    os.write(terminal, b"exit\n")
    with suppress(OSError):  # the terminal is closed at its end
        while os.read(terminal, 1000):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    ends = [f"{line.rpartition(' ')[0]} {word} " for line, word in typed.items()]
    assert told.read_text().splitlines() == ends


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
