"""MLflow's server and Optuna's study on a real PostgreSQL."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from mlflow_server import free_port, served, wait_for

from fftune.config import SweepConfig
from fftune.errors import StorageError
from fftune.report.publish import publish
from fftune.sweeping.sweep import sweep
from fftune.tracking.runs import TrackedRun, send_outbox
from fftune.tracking.store import open_tracking

psycopg = pytest.importorskip("psycopg")

PASSWORD = "friend"
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian's, not on PATH
PATH = os.pathsep.join([*map(str, BINARIES), os.environ["PATH"]])


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """The address of a fresh server of databases, to which a name is to be added."""
    if not (initdb := shutil.which("initdb", path=PATH)):
        pytest.skip("PostgreSQL is not installed")
    # It refuses to run as root, and pytest's own folders are closed to other users.
    owner = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="fftune-postgres-"))
    (folder / "password").write_text(PASSWORD)
    if owner:
        for path in (folder, folder / "password"):
            shutil.chown(path, owner["user"], owner["group"])
    data, port, log = folder / "data", free_port(), folder / "log"
    secret = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "-U", "me"]
    make = [initdb, "-D", data, "-E", "UTF8", "--no-locale", "--no-sync", *secret]
    subprocess.run(make, check=True, capture_output=True, cwd=folder, **owner)
    options = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    flags = [word for option in options for word in ("-c", option)]
    address = f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/"
    with log.open("wb") as file:
        server = subprocess.Popen(
            [str(Path(initdb).with_name("postgres")), "-D", data, "-p", str(port), *flags],
            cwd=folder, stdout=file, stderr=file, **owner,
        )  # fmt: skip
    try:
        wait_for(
            lambda: psycopg.connect(address + "postgres").close(),
            server,
            log,
            psycopg.OperationalError,
        )
        yield address
    finally:
        server.send_signal(signal.SIGINT)  # "fast shutdown": it ends its children first
        server.wait(60)
        shutil.rmtree(folder)


def database(postgres: str, name: str) -> str:
    """The URL of a new database."""
    with psycopg.connect(postgres + "postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgres + name


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_on_postgres(
    quick: SweepConfig, root: Path, postgres: str, monkeypatch, caplog, capsys
) -> None:
    store, port = database(postgres, "mlflow"), free_port()
    search_db = database(postgres, "optuna")
    monkeypatch.setenv("FFTUNE_DB", search_db)
    config = replace(quick, trials=2)
    with served(store, root, port) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        front = sweep(config, root=root, backend="inline")
        said = publish([config.name], root).text
        tracking = open_tracking(root, config.experiment)
        lasting = TrackedRun(tracking, "lasting", tags={"fftune.kind": "test"}, params={})
        lasting.metrics({"loss": 0.5}, 1)
        lasting.flush()
    assert capsys.readouterr().out == ""  # MLflow would print a line a run
    lasting.metrics({"loss": 0.25}, 2)  # the server is gone: the run goes on, and says so
    lasting.end()
    assert "the MLflow server does not answer; going on, and keeping its runs in" in caplog.text
    with served(store, root, port):
        send_outbox(tracking)

        client = mlflow.MlflowClient(address)
        runs = {r.info.run_name: r for r in client.search_runs([tracking.experiment_id])}
        kept = client.list_artifacts(runs["quick front"].info.run_id)
        losses = client.get_metric_history(runs["lasting"].info.run_id, "loss")
    assert [file.path for file in kept] == ["report.html", "search.html"]
    assert [(m.step, m.value) for m in losses] == [(1, 0.5), (2, 0.25)]
    view = f"{address}/#/experiments/{tracking.experiment_id}/runs?viewStateShareKey=fftune"
    assert view in said
    assert not (root / "mlflow-unsent").exists() or not list((root / "mlflow-unsent").iterdir())

    # What MLflow's own client has told, the tables hold.
    with psycopg.connect(store) as tables:
        ask = "select p.value::float, m.value from params p join metrics m using (run_uuid)"
        where = "where p.key = 'lam' and m.key = %s order by 1"
        for risk in ("natural_risk", "hypocritical_risk"):
            rows = tables.execute(f"{ask} {where}", (risk,)).fetchall()
            assert rows == [(p.lam, getattr(p.test, risk).value) for p in front.results]
            curve = "select value from metrics where key = %s order by step"
            found = tables.execute(curve, (f"front/{risk}",)).fetchall()
            index = ("natural_risk", "hypocritical_risk").index(risk)
            assert [value for (value,) in found] == [xy[index] for xy in front.curve("test")]
        views = "select count(*) from experiment_tags where key = 'mlflow.sharedViewState.fftune'"
        assert tables.execute(views).fetchone() == (1,)
        ends = tables.execute("select status from runs where lifecycle_stage = 'active'")
        assert {status for (status,) in ends} == {"FINISHED"}

    study = optuna.load_study(study_name=config.name, storage=search_db)
    assert [t.params["lam"] for t in study.trials] == [0, 100]
    written = (root / "studies/quick/search.json").read_text()
    assert PASSWORD not in written and "***" in written


@pytest.mark.slow
def test_a_password_that_is_wrong(quick, root: Path, postgres: str, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DB", postgres.replace(PASSWORD, "foe") + "postgres")
    with pytest.raises(StorageError, match=r"FFTUNE_DB .*me:\*\*\*@.* password authentication"):
        sweep(quick, root=root, backend="inline")
