"""Passwords never leave in text: by their form, and by the environment of the process."""

import base64
import json
import logging
import pickle
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fftune.cli.edge import ended
from fftune.cli.kept_traceback import keep
from fftune.errors import StorageError
from fftune.progress import LogHandler
from fftune.secrets import redacted

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at http://me:pw@host:5000/x no", "at http://me:***@host:5000/x no"),
        ("http://:pw@host", "http://:***@host"),
        ("http://me:p@w/x@host/y", "http://me:***@host/y"),
        ("postgresql+psycopg://me:p%40w@[::1]/db", "postgresql+psycopg://me:***@[::1]/db"),
        ("mysql://h/db?user=me&password=pw&ssl=1", "mysql://h/db?user=me&password=***&ssl=1"),
        ("postgresql:///x?host=/run&sslpassword=pw", "postgresql:///x?host=/run&sslpassword=***"),
        ("https://host/f?sv=1&sig=a%2Bb%3D&se=2", "https://host/f?sv=1&sig=***&se=2"),
        ("https://host/f?X-Amz-Signature=ab12#x", "https://host/f?X-Amz-Signature=***#x"),
        ("jdbc:x://h;password=pw;user=me", "jdbc:x://h;password=***;user=me"),
        ("host=h password='p w' dbname=x", "host=h password=*** dbname=x"),
        ("AWS_SECRET_ACCESS_KEY=abc/d+e run", "AWS_SECRET_ACCESS_KEY=*** run"),
        ("tool --api-key pw x", "tool --api-key *** x"),
        ('{"password": "p w", "n": 1}', '{"password": "***", "n": 1}'),
        ("{'db_token': 'pw'}", "{'db_token': '***'}"),
        ("Authorization: Basic bWU6cHc=", "Authorization: Basic ***"),
        ("'authorization': 'Bearer abc.d-e'", "'authorization': 'Bearer ***'"),
        ("https://ghp_0123456789abcdefghij@github.com/x", "https://***@github.com/x"),
        (f"token {JWT}", "token ***"),
        ("two http://a:p@h and http://b:q@i", "two http://a:***@h and http://b:***@i"),
    ],
)
def test_what_its_form_betrays(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=fftune",
        "nosuch://me@host/x",
        "sqlite:////home/me/optuna.db",
        "cluster 'ray://h:10001' rejects the token, or wants one; set RAY_AUTH_MODE=token and",
        "token '/home/me/.ray/auth_token' cannot be made private: Permission denied",
        "base.attack.steps must be >= 0, got -1",
        "study 'a@b' at 12:30, trial 3: hypocritical_risk=0.5, key=('cifar10', 'test')",
        "model /home/me/nets/file.py:net@2 has 3 tokens: a",
        "fftune audit net --signature digits.json.sig --public-key key.pub",
        "",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


URL = "postgresql://me:{}@host/db"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Variables as people have them, with the secret that is in each."""
    secrets = {
        "MLFLOW_TRACKING_URI": "https://me:canary-mlflow@host",
        "FFTUNE_DB": "mysql://host/db?password=canary%2Fdb%21&x=1",
        "HTTPS_PROXY": "http://me:canary-proxy@proxy:3128",
        "http_proxy": "http://me:canary:lower@proxy:3128/",
        "AWS_SECRET_ACCESS_KEY": "canary/+secret=",
        "PGPASSWORD": "canary pg",
        "MLFLOW_TRACKING_TOKEN": "canary-token",
        "MY_API_KEY": "canary\"key'",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/canary-path/token")
    monkeypatch.setenv("RAY_AUTH_MODE", "canary-mode")
    return {
        "MLFLOW_TRACKING_URI": "canary-mlflow",
        "FFTUNE_DB": "canary/db!",
        "HTTPS_PROXY": "canary-proxy",
        "http_proxy": "canary:lower",
        **{n: v for n, v in secrets.items() if "://" not in v},
    }


def test_secrets_of_the_environment_wherever_they_stand(environment: dict[str, str]) -> None:
    assert len(environment) == 8
    for name, secret in environment.items():
        for text in (secret, f"got ({secret})", repr(secret), json.dumps(secret)):
            assert "canary" not in redacted(text), name
    assert "canary" not in redacted("canary%2Fdb%21 canary%2Fdb! canary+pg canary%20pg")
    basic = base64.b64encode(b"me:canary-mlflow").decode()
    assert redacted(f"sent {basic}") == "sent ***"
    paths = "/home/canary-path/token canary-mode"
    assert redacted(paths) == paths


def test_a_changed_environment_counts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert redacted("it is sesame-12") == "it is sesame-12"
    monkeypatch.setenv("DOOR_PASSWORD", "sesame-12")
    assert redacted("it is sesame-12") == "it is ***"
    monkeypatch.setenv("DOOR_PASSWORD", "net")  # part of many words
    assert redacted("a net of nets") == "a net of nets"


CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


@settings(max_examples=25, deadline=None)
@example("sesame-12\\")
@given(st.text(CHARACTERS, min_size=8, max_size=30))
def test_any_password_of_an_address(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FFTUNE_DB", URL.format(quote(password, safe="")))
        for text in (password, repr(password), json.dumps(password), quote(password)):
            assert redacted(f"<{text}>").replace("'", "").replace('"', "") == "<***>"


def test_messages_and_the_log_pass_by_themselves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "sesame-12")
    error = StorageError("MLflow store 'http://me:pw@host' does not answer: sesame-12")
    assert str(error) == "MLflow store 'http://me:***@host' does not answer: ***"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    log, handler = logging.getLogger("fftune.test_secrets"), LogHandler()
    log.addHandler(handler)
    try:
        raise ValueError("bad http://me:pw@host")
    except ValueError:
        log.warning("from %s", "sesame-12", exc_info=True)
    finally:
        log.removeHandler(handler)
    written = capsys.readouterr().err
    assert "from ***" in written and "ValueError: bad http://me:***@host" in written
    assert "pw" not in written and "sesame" not in written


def test_whatever_a_command_prints_is_redacted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A library's print, a user's net, an error of no class of ours, and a kept traceback."""
    monkeypatch.setenv("DOOR_PASSWORD", "sesame-12")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def command() -> None:
        print("results of http://me:pw@host")
        print("sesame-12", file=sys.stderr)
        raise error

    error = RuntimeError("at http://me:pw@host with sesame-12")
    assert ended(command) == 2  # this file is the user's
    assert "the traceback is in" in keep(error)
    out, err = capsys.readouterr()
    assert out == "results of http://me:***@host\n"
    assert err.splitlines()[0] == "***" and "at http://me:***@host with ***" in err
    (kept,) = tmp_path.rglob("*.txt")
    assert "at http://me:***@host with ***" in kept.read_text()
    assert not any(word in out + err + kept.read_text() for word in ("sesame-12", ":pw@"))


@pytest.mark.parametrize("unit", ["a", "a-", "token", "a://", "?key=", "http://a:", "--"])
def test_long_texts_take_no_longer_than_their_length(unit: str) -> None:
    """Lines of a user's net, or a page: twice the length may not take four times as long."""
    times = []
    for length in (5_000, 20_000):
        text = (unit * length)[:length]
        began = time.process_time()
        redacted(text)
        times.append(time.process_time() - began)
    assert times[1] < 8 * times[0] + 0.1
