"""Whole studies on a real Ray cluster of this machine."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fftune.cluster import cluster
from fftune.config import (
    AttackConfig,
    DataSpec,
    Dimension,
    HedgeSweep,
    HedgeTrial,
    ModelSpec,
    Resources,
    StoppingConfig,
    SweepConfig,
    ThreatModel,
)
from fftune.errors import ClusterError, FftuneError
from fftune.outcomes import Outcomes
from fftune.sweep.run import sweep
from fftune.sweep.scheduler import FrontScheduler, UntoldSearch

pytestmark = pytest.mark.xdist_group("ray")  # one cluster at a time

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One cluster for all studies of this process: starting Ray takes ten seconds."""
    with cluster(Resources()):
        yield


def rows_by_lambda(root: Path) -> dict[float, Outcomes]:
    return {
        json.loads(path.read_text())["lam"]: Outcomes.read(path.with_name("outcomes.parquet"))
        for path in root.glob("studies/quick/trials/*/result.json")
    }


@pytest.mark.usefixtures("_ray")
def test_rays_rows_equal_inline_rows_to_the_bit(quick: SweepConfig, root: Path) -> None:
    config = replace(quick, strategy="grid", lam=(0.0, 20.0))
    for backend in ("inline", "ray"):
        (root / backend).mkdir()
        sweep(config, root=root / backend, backend=backend)
    inline, ray = rows_by_lambda(root / "inline"), rows_by_lambda(root / "ray")
    assert inline.keys() == ray.keys() == {0.0, 20.0}
    for lam, outcomes in inline.items():
        assert outcomes.table.equals(ray[lam].table)
        assert len(outcomes) == 2 * 1697


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_hedges_on_ray_give_inlines_rows_and_counts(root: Path) -> None:
    trial = HedgeTrial(
        net=ModelSpec(factory=f"{CHECKOUT / 'tests/sweep/digit_nets.py'}:means"),
        data=DataSpec(name="digits", validation_size=0),
        attack=AttackConfig(threat=ThreatModel(eps=0.15), steps=2),
        examples=60,
        aware=8,
        eps_d=0.1,
    )
    space = (Dimension(path="steps", choices=(0, 1, 3)),)
    config = HedgeSweep(name="quick", base=trial, strategy="grid", space=space)
    counts, rows = {}, {}
    for backend in ("inline", "ray"):
        (root / backend).mkdir()
        front = sweep(config, root=root / backend, backend=backend)
        counts[backend] = {
            p.settings["steps"]: (p.validation, p.test, p.aware) for p in front.points
        }
        rows[backend] = {
            p.settings["steps"]: Outcomes.read(
                root / f"{backend}/studies/quick/trials/{p.trial}/outcomes.parquet"
            )
            for p in front.points
        }
    assert counts["inline"] == counts["ray"] and set(counts["ray"]) == {0, 1, 3}
    assert all(rows["ray"][k].table.equals(rows["inline"][k].table) for k in rows["ray"])
    assert len([*(root / "ray/crafted").glob("*.pt")]) == 2


@pytest.mark.usefixtures("_ray")
def test_a_diverging_trial_keeps_its_reason(quick: SweepConfig, root: Path) -> None:
    wild = replace(quick.base, optimizer=replace(quick.base.optimizer, lr=1e30))
    config = replace(quick, base=wild, strategy="grid", lam=(0.0, 7.0))
    with pytest.raises(FftuneError, match=r"all trials failed; the first: loss is .* in epoch 1"):
        sweep(config, root=root, resources=Resources(concurrency=1))
    reasons = [
        json.loads((root / f"studies/quick/trials/{n}/failure.json").read_text())["reason"]
        for n in (0, 1)
    ]
    assert "(lam 0, " in reasons[0]
    assert "(lam 7, " in reasons[1]


@pytest.mark.usefixtures("_ray")
def test_more_than_the_cluster_has_is_refused(quick: SweepConfig, root: Path) -> None:
    greedy = replace(quick, base=replace(quick.base, threads=4096))
    with pytest.raises(ClusterError, match="a trial needs 4096 CPUs, the cluster has"):
        sweep(greedy, root=root)
    with pytest.raises(ClusterError, match="a trial needs 1 GPUs, the cluster has 0"):
        sweep(quick, root=root, resources=Resources(gpus=1))
    assert not (root / "studies/quick/trials").exists()


def test_an_address_where_nobody_answers(root: Path) -> None:
    where = ["--address", "127.0.0.1:1"]
    done = subprocess.run(
        [*command(root), *where], cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("fftune: cluster '127.0.0.1:1' cannot be reached: ")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "deaths",
    [
        pytest.param((signal.SIGKILL,), id="SIGKILL"),
        pytest.param((signal.SIGKILL, signal.SIGINT), id="both", marks=pytest.mark.slow),
    ],
)
def test_a_dead_driver_loses_nothing(root: Path, deaths) -> None:
    """The driver dies by SIGKILL, and by Ctrl-C; --resume repeats no finished trial.

    The end runs inline: a study belongs to no backend.
    """
    for finished, how in enumerate(deaths, start=1):
        code, said = interrupt(root, how, finished=finished, resume=finished > 1)
        assert code == (130 if how == signal.SIGINT else -how)
        if how == signal.SIGINT:
            told = "fftune: interrupted; the same command with --resume goes on\n"
            assert said.endswith(told)
    before = stamps(root)

    finish = [*command(root, resume=True), "--backend", "inline"]
    done = subprocess.run(finish, cwd=CHECKOUT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    after = stamps(root)
    assert len(after) == 4
    assert before.items() <= after.items()
    lams = sorted(json.loads(path.read_text())["lam"] for path in after)
    assert len(set(lams)) == 4
    assert (lams[0], lams[-1]) == (0, 100)
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    ends = [run.info.status for run in client.search_runs(["1"])]
    assert set(ends) <= {"FINISHED", "KILLED"}
    assert ends.count("FINISHED") == 4 + 1  # and the front


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moments", [3, 20])
def test_killed_at_random_moments_the_front_is_the_same(root, tmp_path, moments: int) -> None:
    """SIGKILL at seeded moments, then an undisturbed end: every trial as if nothing had been."""
    calm = tmp_path / "calm"
    calm.mkdir()
    shutil.copy(root / "mlflow.db", calm)
    inline = ["--backend", "inline"]
    began = time.monotonic()
    subprocess.run([*command(calm), *inline], cwd=CHECKOUT, check=True, capture_output=True)
    took = time.monotonic() - began
    draw, seen = random.Random(moments), {}
    for _ in range(moments):
        driver = subprocess.Popen(
            [*command(root, resume=True), *inline], cwd=CHECKOUT, stderr=subprocess.DEVNULL
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(draw.uniform(0.1, 0.9) * took)
        driver.kill()
        driver.wait()
        now = stamps(root)
        assert seen.items() <= now.items()  # no finished trial was touched again
        seen = now
    subprocess.run(
        [*command(root, resume=True), *inline], cwd=CHECKOUT, check=True, capture_output=True
    )
    assert results(root) == results(calm)


def results(root: Path) -> dict[float, list]:
    """By lambda, the net and its counts."""
    found = (json.loads(path.read_text()) for path in stamps(root))
    return {p["lam"]: [p["model_hash"], p["validation"], p["test"]] for p in found}


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_trial_left_behind_is_stopped_on_ray(quick: SweepConfig, root: Path) -> None:
    """With a learning rate of 1e-7 nothing is learned; with 1e30 the loss is no number."""
    rates = Dimension(path="optimizer.lr", choices=(0.05, 1e-7, 1e30))
    base = replace(quick.base, optimizer=replace(quick.base.optimizer, epochs=12))
    stopping = StoppingConfig(rungs=(8,), examples=500, steps=2)
    config = replace(quick, strategy="grid", space=(rates,), base=base, stopping=stopping)

    front = sweep(config, root=root, resources=Resources(concurrency=1))

    assert [p.settings for p in front.points] == [{"optimizer.lr": 0.05}]
    assert [(s.settings, s.epoch) for s in front.stopped] == [({"optimizer.lr": 1e-7}, 8)]
    assert front.epochs_saved == 4
    assert [f.settings for f in front.failures] == [{"optimizer.lr": 1e30}]
    journal = JournalFileBackend(str(root / "studies/quick/optuna.journal"))
    search = optuna.load_study(study_name="quick", storage=JournalStorage(journal))
    assert [t.state.name for t in search.trials] == ["COMPLETE", "PRUNED", "FAIL"]


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_the_scheduler_works_alone() -> None:
    """A stock Tune run: the third trial is dominated at step 2, and Optuna hears no score of it."""
    from ray import tune

    def climb(config):
        for step in (1, 2, 3):
            x = config["x"]
            tune.report({"a": x, "b": 1 - x if x < 0.9 else 5.0, "step": step})

    scheduler = FrontScheduler(["a", "b"], rungs=[2], time_attr="step")
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    search = UntoldSearch(
        scheduler,
        space,
        metric=["a", "b"],
        mode=["min", "min"],
        points_to_evaluate=[{"x": 0.1}, {"x": 0.5}, {"x": 0.95}],
    )
    tune.Tuner(
        climb,
        tune_config=tune.TuneConfig(
            scheduler=scheduler, search_alg=search, num_samples=3, max_concurrent_trials=1
        ),
        run_config=tune.RunConfig(verbose=0),
    ).fit()
    assert list(scheduler.stopped.values()) == [2]
    assert scheduler.saved(3) == 1
    states = [(t.params["x"], t.state.name) for t in search._ot_study.trials]
    assert states == [(0.1, "COMPLETE"), (0.5, "COMPLETE"), (0.95, "PRUNED")]


def command(root: Path, *, resume: bool = False) -> list[str]:
    settings = "--trials 4 --concurrency 1 --base.optimizer.epochs 8 --battery.steps 4 --name quick"
    flags = ["--resume"] if resume else []
    where = ["--storage", str(root)]
    return [sys.executable, "-m", "fftune.sweep", "thrm", *settings.split(), *where, *flags]


def stamps(root: Path) -> dict[Path, int]:
    """When each finished trial was finished."""
    results = root.glob("studies/quick/trials/*/result.json")
    return {path: path.stat().st_mtime_ns for path in results}


def interrupt(root: Path, how: signal.Signals, *, finished: int, resume: bool = False):
    """Run until so many trials are finished, then send the signal; exit code and log."""
    log = root / f"{how.name}.log"
    with log.open("w") as file:
        driver = subprocess.Popen(command(root, resume=resume), cwd=CHECKOUT, stderr=file)
        deadline = time.monotonic() + 300
        while len(stamps(root)) < finished and time.monotonic() < deadline:
            assert driver.poll() is None, log.read_text()
            time.sleep(0.05)
        os.kill(driver.pid, how)
        code = driver.wait(120)
    assert finished <= len(stamps(root)) < 4
    return code, log.read_text()
