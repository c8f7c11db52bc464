"""One net trained by two processes on Ray Train: the card's path, on a CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from fftune.models.specs import read_spec
from fftune.training.history import read_history
from tests.integration.test_ffcv_real import DATASETS
from tests.integration.test_jobs import RAY, cluster, settings, sh

__all__ = ["cluster", "settings"]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1500)]

CHECKOUT = Path(__file__).parents[2]
NETS = Path("tests/training/user_net.py")
PLAIN = ["--model", f"{NETS}:patient", "--data.train-size", "100", "--optimizer.epochs", "60"]


def train(root: Path, *flags: str, recipe: str = "thrm", **env: str) -> subprocess.Popen[str]:
    """`python -m fftune.train` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "fftune.train", recipe, "--storage", str(root), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=CHECKOUT,  # where the net's path begins, for the workers, too
        env={**os.environ, "FFTUNE_DATA": str(DATASETS), **env},
    )


def finished(process: subprocess.Popen[str]) -> str:
    out, log = process.communicate()
    assert process.returncode == 0, out + log
    return out + log


def losses(root: Path, name: str) -> list[float]:
    return [epoch.loss for epoch in read_history(root / "runs" / name / "history.parquet")]


def until_it_has_saved(run: Path, over: Callable[[], object]) -> None:
    """Wait for a state of epoch 3 or later; the net waits, too, before it has come to its end."""
    states = run / "states/states.json"
    while not (states.exists() and json.loads(states.read_text())[0]["epoch"] >= 3):
        assert not (ended := over()), ended
        time.sleep(0.05)


def kill_a_worker(of: int) -> None:
    """One of the two processes that train, among the children of a process."""
    family = psutil.Process(of).children(recursive=True)
    workers = [p for p in family if "RayTrainWorker" in " ".join(p.cmdline())]
    assert len(workers) == 2
    workers[-1].kill()


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """Where one process has trained the plain net, without any mishap."""
    root = tmp_path_factory.mktemp("alone")
    finished(train(root, *PLAIN, "--name", "alone"))
    return root


def assert_alike(alone: list[float], pair: list[float]) -> None:
    assert len(alone) == len(pair) == 60
    assert max(abs(a - b) for a, b in zip(alone, pair, strict=True)) <= 1e-4


def test_a_killed_worker_is_replaced_and_nothing_is_lost(root: Path, alone: Path) -> None:
    """Two workers, one killed mid-run: the losses of one process."""
    killed = root / "killed"
    pair = [*PLAIN, "--name", "pair", "--workers", "2", "--save-seconds", "0"]
    run = train(root, *pair, FFTUNE_TEST_AWAITS=str(killed))
    until_it_has_saved(root / "runs/pair", lambda: run.poll() is not None and run.communicate())
    kill_a_worker(run.pid)
    killed.touch()
    assert "going on after epoch" in finished(run)
    assert_alike(losses(alone, "alone"), losses(root, "pair"))


def test_the_same_as_a_job(cluster: dict[str, str], alone: Path) -> None:
    """Its workers are the head's children, not the job's."""
    root = Path(cluster["FFTUNE_STORAGE"])
    killed = root / "killed"
    pair = [*PLAIN, "--name", "pair", "--workers", "2", "--save-seconds", "0"]
    awaits = {"env_vars": {"FFTUNE_TEST_AWAITS": str(killed)}}
    command = ["--working-dir", ".", "--runtime-env-json", json.dumps(awaits), "--"]
    command += ["python", "-m", "fftune.train", "thrm", *pair]
    with ThreadPoolExecutor() as beside:
        job = beside.submit(sh, RAY, "job", "submit", *command, env=cluster)
        until_it_has_saved(root / "runs/pair", lambda: job.done() and job.result())
        kill_a_worker(int(Path(cluster["FFTUNE_CLUSTER_DIR"], "pid").read_text()))
        killed.touch()
        done = job.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "going on after epoch" in done.stdout
    assert_alike(losses(alone, "alone"), losses(root, "pair"))


def test_a_killed_trainer_goes_on_when_asked(root: Path, alone: Path) -> None:
    """Bit for bit: one process, killed without grace, resumed by the same command."""
    killed = root / "killed"
    flags = [*PLAIN, "--name", "killed", "--save-seconds", "0"]
    run = train(root, *flags, FFTUNE_TEST_AWAITS=str(killed))
    until_it_has_saved(root / "runs/killed", lambda: run.poll() is not None and run.communicate())
    run.kill()
    killed.touch()
    assert run.wait() == -signal.SIGKILL
    refused = train(root, *flags)
    assert refused.communicate()[1].splitlines()[-1] == (
        "fftune: run 'killed' is unfinished; --resume goes on with it"
    )
    assert refused.returncode == 2
    assert "going on after epoch" in finished(train(root, *flags, "--resume"))
    assert losses(root, "killed") == losses(alone, "alone")
    ended = root / "runs/killed", alone / "runs/alone"
    assert len({read_spec(run / "checkpoint").hash for run in ended}) == 1


def test_more_workers_than_the_cluster_holds(root: Path) -> None:
    run = train(root, *PLAIN, "--workers", "50")
    _, log = run.communicate()
    assert run.returncode == 2
    assert "fftune: training needs 50 CPUs, the cluster has" in log.splitlines()[-1]


def beton(root: Path, name: str, folder: str, *flags: str) -> None:
    """Write an FFCV file of images into a data root."""
    if not (DATASETS / folder).is_dir():
        pytest.skip("no real images")
    source = ["--source", str(DATASETS / folder), "--out", str(root)]
    write = [sys.executable, "-m", "fftune.data", "write", name]
    subprocess.run([*write, *source, *flags], check=True)


def test_tiny_imagenet_through_ffcv_on_two_workers(root: Path) -> None:
    """Two epochs of THRM with a narrow ResNet-18."""
    beton(root, "tiny-imagenet", "tiny-imagenet-200")
    flags = (
        "--data tiny-imagenet --scale full --data.train-size 512 --engine ffcv --width 8 "
        "--optimizer.epochs 2 --optimizer.batch-size 64 --attack.steps 2 --workers 2 --name tiny"
    )
    log = finished(train(root, *flags.split(), FFTUNE_DATA=str(root)))
    found = losses(root, "tiny")
    assert len(found) == 2
    assert found[1] < found[0]
    assert "2 epochs" in log


def test_the_three_phases_of_fast_at_on_photographs(root: Path) -> None:
    for phase in "123":
        beton(root, "imagenet", "imagenet-sample", "--phase", phase)
    recipe = CHECKOUT / "experiments/2026-11-21-fast-at-photographs.py"
    finished(train(root, "--name", "photos", recipe=str(recipe), FFTUNE_DATA=str(root)))
    history = read_history(root / "runs/photos/history.parquet")
    assert len(history) == 3
    assert all(0 <= epoch.robust_accuracy <= 1 for epoch in history)
