"""Whole studies on a real Ray cluster of this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from fftune.config import Resources, SweepConfig
from fftune.errors import ClusterError, FftuneError
from fftune.outcomes import Outcomes
from fftune.sweep.on_ray import cluster
from fftune.sweep.run import sweep

pytestmark = pytest.mark.xdist_group("ray")  # one cluster at a time

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """One cluster for all studies of this process: starting Ray takes ten seconds."""
    with cluster(Resources(), threads=1):
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
def test_sigkill_and_ctrl_c_lose_nothing(root: Path) -> None:
    """The driver dies twice, by SIGKILL and by Ctrl-C; --resume repeats no finished trial.

    The end runs inline: a study belongs to no backend.
    """
    killed, _ = interrupt(root, signal.SIGKILL, finished=1)
    assert killed == -signal.SIGKILL
    stopped, said = interrupt(root, signal.SIGINT, finished=2, resume=True)
    assert stopped == 130
    assert said.endswith("fftune: interrupted; the same command with --resume goes on\n")
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
