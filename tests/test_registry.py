"""Things by name: where they live, what is refused, and files of the user's."""

import subprocess
import sys

import pytest

from fftune.errors import ConfigError
from fftune.registry import Registry, absolute

THINGS = Registry("thing", "fftune.no-such-group", {"pi": "math:pi", "tau": "math:tau"})


def test_an_entry_is_imported_when_it_is_asked_for() -> None:
    assert (THINGS["pi"], list(THINGS), len(THINGS)) == (3.141592653589793, ["pi", "tau"], 2)
    code = "import sys, fftune.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"^search must be .*unknown thing 'pie'; did you mean 'pi'"
    ):
        THINGS.check("search", "pie")
    with pytest.raises(ConfigError, match=r"^unknown thing 'pie'; did you mean 'pi'"):
        THINGS["pie"]


def test_a_file_of_the_users(tmp_path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("E = 2.5\n")
    THINGS.check("search", f"{file}:E")
    assert THINGS[f"{file}:E"] == 2.5
    with pytest.raises(ConfigError, match=r"defines no 'F'$"):
        THINGS[f"{file}:F"]
    with pytest.raises(ConfigError, match="there is no file"):
        THINGS[f"{tmp_path}/no.py:E"]


def test_a_relative_file_is_made_absolute(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("mine.py:E") == f"{tmp_path}/mine.py:E"
    assert absolute("pgd") == "pgd"
