"""MLflow's server and Optuna's study on a real PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pytest
from mlflow_server import free_port, served
from sqlalchemy import event
from sqlalchemy.engine import Engine

from fftune.config import SweepConfig
from fftune.errors import StorageError
from fftune.report.publish import publish
from fftune.sweeping.front import Front
from fftune.sweeping.sweep import sweep
from fftune.tracking.runs import TrackedRun, send_outbox
from fftune.tracking.store import open_tracking

psycopg = pytest.importorskip("psycopg")

from postgres_server import INITDB, PASSWORD, Postgres, postgres_server  # noqa: E402


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    if not INITDB:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as server:
        yield server


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_on_postgres(
    quick: SweepConfig, root: Path, postgres: Postgres, monkeypatch, caplog, capsys
) -> None:
    store, port = postgres.database("mlflow"), free_port()
    search_db = postgres.database("optuna")
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
def test_a_password_that_is_wrong(quick, root: Path, postgres: Postgres, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DB", postgres.address.replace(PASSWORD, "foe") + "postgres")
    with pytest.raises(StorageError, match=r"FFTUNE_DB .*me:\*\*\*@.* password authentication"):
        sweep(quick, root=root, backend="inline")


class Statements:
    """Counts what databases are asked, and lets the server go away before the k-th."""

    def __init__(self, server: Postgres, at: int = 0) -> None:
        self._server, self._at, self.seen = server, at, 0

    def __call__(self, *_: Any) -> None:
        self.seen += 1
        if self.seen == self._at:
            self._server.go_away()

    def __enter__(self) -> "Statements":
        event.listen(Engine, "before_cursor_execute", self)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self)


def results(front: Front) -> list[tuple[Any, ...]]:
    return [(r.lam, r.model_hash, r.validation, r.test) for r in front.results]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_study_survives_that_the_database_goes_away(
    quick: SweepConfig, root: Path, postgres: Postgres, monkeypatch, tmp_path
) -> None:
    config = replace(quick, trials=2)

    def run(name: str, at: int = 0, *, resume: bool = False) -> tuple[Front, int]:
        monkeypatch.setenv("FFTUNE_DB", postgres.address + name)
        with Statements(postgres, at) as statements:
            (tmp_path / name).mkdir(exist_ok=True)
            front = sweep(config, root=tmp_path / name, backend="inline", resume=resume)
        return front, statements.seen

    postgres.database("whole")
    front, count = run("whole")
    for share in range(10):
        at = 1 + round(share / 9 * (count - 1))
        postgres.database(name := f"at-{at}")
        with pytest.raises(StorageError, match=r"^FFTUNE_DB .*:\*\*\*@.* cannot be used: ") as told:
            run(name, at)
        assert PASSWORD not in str(told.value)
        postgres.start()
        again, _ = run(name, resume=True)
        assert results(again) == results(front), at
        assert not again.failures
