"""Whole studies on a real Ray cluster of this machine."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import psutil
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from fftune.ray_cluster import cluster, ports_told  # before Ray, whose start it sets

# isort: split
import ray
from ray.cluster_utils import Cluster

from fftune import recipes
from fftune.config import (
    AttackConfig,
    Bound,
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
from fftune.errors import ClusterError, OutOfMemoryError
from fftune.outcomes import Outcomes
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.ray_scheduler import ParetoHalvingScheduler, PruneAwareOptunaSearch
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from tests.sweeping.coins import KIND as COINS
from tests.sweeping.memory_kind import KIND

pytestmark = pytest.mark.xdist_group("ray")  # one cluster at a time

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of one cluster for all studies of this process: starting Ray takes ten seconds.

    Its two cards are numbers: no card is needed.
    """
    head = {"num_cpus": 2, "num_gpus": 2, "include_dashboard": False}
    with ports_told():
        nodes = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=nodes.address, log_to_driver=False)
    with cluster(Resources()):
        yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def test_an_address_where_nobody_answers(quick: SweepConfig, root: Path) -> None:
    """Before a cluster is there: one that is connected already would be used."""
    nobody = Resources(address="127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"^cluster '127.0.0.1:1' cannot be reached: .*refused"):
        sweep(quick, root=root, resources=nobody)


LAMS, RATES = (0.0, 20.0, 5.0), (0.05, 1e30)
"""With a learning rate of 1e30 the loss is no number."""


@pytest.mark.timeout(1500)
def test_a_dead_driver_loses_nothing_and_rays_rows_equal_inline_rows(
    quick: SweepConfig, root: Path, tmp_path: Path, address: str
) -> None:
    """The driver on Ray dies by SIGKILL; --resume ends inline: a study belongs to no backend.

    Two trials are finished by then, two have failed, and the fifth has begun.
    """
    space = (Dimension(path="lam", choices=LAMS), Dimension(path="optimizer.lr", choices=RATES))
    config = replace(quick, strategy="grid", space=space, trials=recipes.thrm("tiny").trials)
    words = "--base.optimizer.epochs 2 --battery.steps 2 --battery.examples 200"
    flags = [*words.split(), "--strategy", "grid", "--space", *map(str, space)]
    flags += ["--gpus", "0", "--address", address]
    kill_when(command(root, *flags), root / "studies/quick/trials/4/config.json")
    by_ray = rows_by_lambda(root)
    assert set(by_ray) == {0, 20}
    before = stamps(root)

    front = sweep(config, root=root, backend="inline", resume=True)

    assert before.items() <= stamps(root).items()
    assert [f.lam for f in front.failures] == [0, 20, 5]
    for failure in front.failures:
        assert re.match(rf"loss is .* in epoch 1, .*\(lam {failure.lam:g}, ", failure.reason)
    calm = tmp_path / "calm"
    calm.mkdir()
    shutil.copy(root / "mlflow.db", calm)
    undisturbed = sweep(config, root=calm, backend="inline")
    assert [p.model_hash for p in front.results] == [p.model_hash for p in undisturbed.results]
    inline = rows_by_lambda(calm)
    for lam, outcomes in by_ray.items():  # to the bit
        assert outcomes.table.equals(inline[lam].table)
        assert len(outcomes) == 2 * 2 * 200  # goals, splits


def rows_by_lambda(root: Path) -> dict[float, Outcomes]:
    return {
        json.loads(path.read_text())["lam"]: Outcomes.read(path.with_name("outcomes.parquet"))
        for path in root.glob("studies/quick/trials/*/result.json")
    }


@pytest.mark.slow
@pytest.mark.usefixtures("address")
def test_hedges_on_ray_give_inlines_rows_and_counts(root: Path) -> None:
    trial = HedgeTrial(
        net=ModelSpec(factory=f"{CHECKOUT / 'tests/hedge_study/digit_nets.py'}:means"),
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
            p.settings["steps"]: (p.validation, p.test, p.aware) for p in front.results
        }
        rows[backend] = {
            p.settings["steps"]: Outcomes.read(
                root / f"{backend}/studies/quick/trials/{p.trial}/outcomes.parquet"
            )
            for p in front.results
        }
    assert counts["inline"] == counts["ray"] and set(counts["ray"]) == {0, 1, 3}
    assert all(rows["ray"][k].table.equals(rows["inline"][k].table) for k in rows["ray"])
    assert len([*(root / "ray/crafted").glob("*.pt")]) == 2


@pytest.mark.usefixtures("address")
def test_more_than_the_cluster_has_is_refused(quick: SweepConfig, root: Path) -> None:
    greedy = replace(quick, base=replace(quick.base, threads=1024))
    with pytest.raises(ClusterError, match="a trial needs 1024 CPUs, the cluster has"):
        sweep(greedy, root=root)
    with pytest.raises(ClusterError, match="a trial needs 3 GPUs, the cluster has 2$"):
        sweep(quick, root=root, resources=Resources(gpus=3.0))
    assert not (root / "studies/quick/trials").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("address")
def test_what_no_card_holds_is_refused_before_a_trial_starts(root: Path, tmp_path: Path) -> None:
    (tmp_path / "needs.py").write_text(KIND)
    needs = recipes.find(str(tmp_path / "needs.py"))("tiny")
    large = replace(needs, base=replace(needs.base, seed=9))
    with pytest.raises(OutOfMemoryError, match="^a whole card is too small$"):
        sweep(large, root=root, resources=Resources(gpus="auto"))
    assert not list(root.glob("studies/*/trials"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_and_a_dead_head(root: Path, number: int) -> None:
    """First a signal, then SIGKILL of all of Ray's head; --resume repeats no finished trial."""
    log = root / "log"
    driver = start(small(root), log)
    wait_for(lambda: len(stamps(root)) == 1, driver, log)
    driver.send_signal(number)
    assert driver.wait() == 130
    *before, told = log.read_text().splitlines()
    assert told == "fftune: interrupted; the same command with --resume goes on"
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in before), before

    driver = start(small(root, "--resume"), log)
    wait_for(lambda: len(stamps(root)) == 2, driver, log)
    for process in psutil.Process(driver.pid).children(recursive=True):
        if process.name() in ("gcs_server", "raylet"):
            process.kill()
    assert driver.wait() == 2
    gone = r"fftune: Ray's (raylet|head) .* with --resume"
    assert re.fullmatch(gone, log.read_text().splitlines()[-1]), log.read_text()
    before = stamps(root)
    assert len(before) < 4

    done = subprocess.run(small(root, "--resume"), cwd=CHECKOUT, capture_output=True, text=True)

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
@pytest.mark.usefixtures("address")
def test_a_trial_left_behind_is_stopped_on_ray(quick: SweepConfig, root: Path) -> None:
    """A small learning rate is worse than a large one in both risks; 1e30 gives no number."""
    lams = Dimension(path="lam", choices=(9.0, 0.0))
    rates = Dimension(path="optimizer.lr", choices=(0.05, 0.005, 1e30))
    base = replace(quick.base, optimizer=replace(quick.base.optimizer, epochs=12))
    stopping = StoppingConfig(rungs=(8,), examples=500, steps=2)
    config = replace(quick, strategy="grid", space=(lams, rates), base=base, stopping=stopping)
    alone = root / "alone"
    alone.mkdir()
    shutil.copy(root / "mlflow.db", alone)

    front = sweep(config, root=root, resources=Resources(concurrency=1))

    slow = [{"lam": lam, "optimizer.lr": 0.005} for lam in (9.0, 0.0)]
    assert [(stop.settings, stop.epoch) for stop in front.stopped] == [(s, 8) for s in slow]
    assert front.epochs_saved == 8
    assert [f.settings["optimizer.lr"] for f in front.failures] == [1e30] * 2
    journal = JournalFileBackend(str(root / "studies/quick/optuna.journal"))
    search = optuna.load_study(study_name="quick", storage=JournalStorage(journal))
    states = [t.state.name for t in search.trials]
    assert sorted(states) == ["COMPLETE"] * 2 + ["FAIL"] * 2 + ["PRUNED"] * 2
    inline = sweep(config, root=alone, backend="inline")
    assert front.stopped == inline.stopped
    assert [p.model_hash for p in front.results] == [p.model_hash for p in inline.results]


@pytest.mark.slow
@pytest.mark.usefixtures("address")
def test_a_bound_is_searched_on_ray_as_inline(root: Path, tmp_path: Path) -> None:
    """And a driver that goes on inline knows what the one on Ray was told."""
    (tmp_path / "coins.py").write_text(COINS)
    bound = Bound(risk="natural_risk", most=0.3)
    config = replace(recipes.find(str(tmp_path / "coins.py"))("tiny"), where=(bound,), trials=5)
    alone = root / "alone"
    alone.mkdir()
    shutil.copy(root / "mlflow.db", alone)

    by_ray = sweep(config, root=root, resources=Resources(concurrency=1))

    assert by_ray.results == sweep(config, root=alone, backend="inline").results
    told = [read_search(StudyDir(at / "studies/coins", config)).trials for at in (root, alone)]
    assert [t.constraints for t in told[0]] == [t.constraints for t in told[1]]
    assert [t.values for t in told[0]] == [t.values for t in told[1]]
    more = sweep(replace(config, trials=7), root=root, backend="inline", resume=True)
    kept = [r.test.hypocritical_risk.value for r in more.results if r.test.wrong <= 30]
    assert min(kept) == 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("address")
def test_the_scheduler_works_alone() -> None:
    """A stock Tune run: the third trial is dominated at step 2, and Optuna hears no score of it."""
    from ray import tune

    def climb(config):
        for step in (1, 2, 3):
            x = config["x"]
            tune.report({"a": x, "b": 1 - x if x < 0.9 else 5.0, "step": step})

    scheduler = ParetoHalvingScheduler(["a", "b"], rungs=[2], time_attr="step")
    space = {"x": optuna.distributions.FloatDistribution(0, 1)}
    search = PruneAwareOptunaSearch(
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


def command(root: Path, *flags: str) -> list[str]:
    where = ["--storage", str(root), "--name", "quick", "--concurrency", "1"]
    return [sys.executable, "-m", "fftune.sweep", "thrm", *where, *flags]


def small(root: Path, *flags: str) -> list[str]:
    """Four trials of some seconds."""
    settings = "--trials 4 --base.optimizer.epochs 8 --battery.steps 4"
    return command(root, *settings.split(), *flags)


def stamps(root: Path) -> dict[Path, int]:
    """When each finished trial was finished."""
    results = root.glob("studies/quick/trials/*/result.json")
    return {path: path.stat().st_mtime_ns for path in results}


def start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as file:
        return subprocess.Popen(arguments, cwd=CHECKOUT, stdout=file, stderr=file)


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen[bytes], log: Path) -> None:
    while not condition():
        assert driver.poll() is None, log.read_text()
        time.sleep(0.02)


def kill_when(arguments: list[str], there: Path) -> None:
    """SIGKILL the driver as soon as a file is there."""
    log = there.parents[4] / "log"
    driver = start(arguments, log)
    wait_for(there.exists, driver, log)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
