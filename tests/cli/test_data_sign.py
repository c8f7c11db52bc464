"""`fftune data sign` and `verify --signature`: verdicts by exit code, mistakes in one line."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

from fftune.cli import data
from fftune.cli.edge import ended
from tests.keys import key_pair

SET = "folder:set.npz"
SIGNED = ("--signature", "set.manifest.json.sig", "--public-key", "key.pub")


def fftune_data(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and the line of an error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = ended(lambda: data.main(words))
    lines = [line for line in err.getvalue().splitlines() if line.startswith("fftune: ")]
    assert len(lines) == (code in (1, 2)), err.getvalue()
    return code, out.getvalue(), "".join(lines)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "none"))
    np.savez("set.npz", x=np.zeros((4, 3, 3, 1), np.uint8), y=np.array([0, 1, 0, 1]))
    key_pair(tmp_path)
    return tmp_path


@pytest.fixture
def signed() -> None:
    assert fftune_data("sign", SET, "--key", "key.pem")[0] == 0


def test_what_is_signed_and_where_is_said(here: Path) -> None:
    code, out, _ = fftune_data("sign", SET, "--key", "key.pem", "--out", "deep/mine.json")
    assert code == 0 and out.splitlines() == [
        "whole: 4 examples of 2 classes, by their pixels",
        "signed 'deep/mine.json', in 'deep/mine.json.sig'",
    ]
    again = "--signature", "deep/mine.json.sig", *SIGNED[2:]
    assert fftune_data("verify", SET, *again)[0] == 0


@pytest.mark.usefixtures("signed")
def test_neither_the_key_nor_another_file_is_replaced(here: Path) -> None:
    """`--out key.pem` left the user without a key; an earlier manifest is replaced."""
    key = (here / "key.pem").read_bytes()
    (here / "notes.sig").write_text("mine")
    for out, kept in (("key.pem", "key.pem"), ("notes", "notes.sig")):
        code, _, said = fftune_data("sign", SET, "--key", "key.pem", "--out", out)
        assert code == 2 and said.startswith(f"fftune: {kept!r} is no sign")
    assert (here / "key.pem").read_bytes() == key and not (here / "key.pem.sig").exists()
    assert (here / "notes.sig").read_text() == "mine" and not (here / "notes").exists()
    assert fftune_data("sign", SET, "--key", "key.pem")[0] == 0


@pytest.mark.usefixtures("signed")
def test_the_verdict_is_the_exit_code() -> None:
    code, out, _ = fftune_data("verify", SET, *SIGNED)
    passed = "PASS folder:set.npz: 4 images and labels of whole are as signed by sha256:"
    assert code == 0 and out.startswith(passed)
    np.savez("set.npz", x=np.zeros((4, 3, 3, 1), np.uint8), y=np.array([1, 0, 0, 1]))
    code, out, _ = fftune_data("verify", SET, *SIGNED)
    assert code == 3 and out.startswith("FAIL folder:set.npz: changed label of '0': '1', signed")


@pytest.mark.usefixtures("signed")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sign", SET), "key must be a file with a private key; `openssl ecparam"),
        (("sign", SET, "--key", "key.pub"), "'key.pub' holds no private key in PEM; name"),
        (("sign", SET, "--key", "gone.pem"), "private key 'gone.pem' cannot be read: No such file"),
        (("sign", SET, "--key", "key.pem", "--part", "test"), "there is no test part, only whole"),
        (("sign", "folder:gone", "--key", "key.pem"), "there is no folder or file 'gone'"),
        (("sign", SET, "--key", "key.pem", "--out", "/proc/x.json"), "/proc"),
        (("verify", SET, *SIGNED[:2]), "public_key must be a file where data are compared"),
        (("verify", SET, *SIGNED[2:]), "signature must be a file where data are compared"),
        (("verify", SET, SET, *SIGNED), "names must be one data set beside a signature"),
        (("verify", SET, *SIGNED[:3], "key.pem"), "'key.pem' holds no public key in PEM; ask the"),
        (("verify", SET, *SIGNED[:3], "set.npz"), "'set.npz' holds no public key in PEM; ask the"),
        (("verify", SET, "--signature", "set.npz", *SIGNED[2:]), "signature must be a file that"),
        (("verify", SET, "--signature", "gone.sig", *SIGNED[2:]), "manifest 'gone' cannot be read"),
        (("verify", "folder:gone", *SIGNED), "there is no folder or file 'gone'"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], said: str) -> None:
    code, out, line = fftune_data(*words)
    assert (code, out) == (2, "") and said in line


@pytest.mark.usefixtures("signed")
def test_a_bundle_of_another_kind_is_no_verdict(here: Path) -> None:
    (here / "set.manifest.json.sig").write_text('{"verificationMaterial": {}}')
    code, _, line = fftune_data("verify", SET, *SIGNED)
    assert code == 2 and "signature 'set.manifest.json.sig'" in line


def test_without_model_signing_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "model_signing.signing", None)
    code, _, line = fftune_data("sign", SET, "--key", "key.pem")
    assert code == 2 and line.endswith("pip install 'fftune[signing]'")
