"""The head of a real Ray dies at the k-th call of a command: one line, and nothing is lost."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from fftune.ray_cluster import cluster, ports_told  # before Ray, whose start it sets

# isort: split
import ray
from ray.cluster_utils import Cluster

from fftune.cli import evaluate, sweep, train
from fftune.config import Resources
from tests.integration.dying_head import kill
from tests.integration.test_jobs import LOCAL, RAY, settings_in, sh
from tests.integration.test_ray_sweep import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(3000)]

CHECKOUT = Path(__file__).parents[2]
QUICK = "--base.optimizer.epochs 1 --battery.steps 1 --battery.examples 20"
SEARCH = f"thrm --name s --strategy grid --space lam=0,5,20 {QUICK}"
STUDY = f"{SEARCH} --concurrency 1"
EXAM = "--battery risks --battery.steps 2 --examples 64 --battery.block-size 16 --backend ray"
LONG = "--battery risks --battery.steps 400 --examples 320 --battery.block-size 16"
"""An evaluation that is at work for a while."""
GONE = re.compile(
    r"fftune: Ray's (head at 127\.0\.0\.1:\d+ is gone \(.*\)|raylet .* has ended); .*"
)
PARTS = ("gcs", "raylet", "both")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of the new head, on which everything goes on."""
    if ray.is_initialized():
        ray.shutdown()
    with ports_told():
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    ray.init(address=nodes.address, log_to_driver=False)
    with cluster(Resources()):
        yield nodes.address
    ray.shutdown()
    nodes.shutdown()


def dying(root: Path, at: int, what: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose head dies at a call; 0: at none."""
    program = [sys.executable, "-m", "tests.integration.dying_head", str(at), what]
    program += [str(root / "calls"), *words]
    env = os.environ | {"FFTUNE_STORAGE": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(program, cwd=CHECKOUT, env=env, capture_output=True, text=True)


def calls(root: Path) -> int:
    """Number of calls to Ray that a command made."""
    return len((root / "calls").read_text().splitlines())


def rows(folder: Path) -> dict[str, list[object]]:
    """Columns of every file of rows, by its name or its trial's lambda."""
    found = {}
    for path in folder.rglob("*.parquet"):
        trial = path.with_name("result.json")
        name = f"lam {json.loads(trial.read_text())['lam']}" if trial.exists() else path.name
        if path.name == "outcomes.parquet" or path.parent.name == "rows":
            found[name] = pq.read_table(path).to_pydict()
    return found


def moments(root: Path, count: int) -> list[tuple[int, str]]:
    """Calls of so many seeds, of all that an undisturbed run made, and what dies at each."""
    last = calls(root)
    draws = [random.Random(seed) for seed in range(count)]
    return [(draw.randint(1, last), PARTS[i % 3]) for i, draw in enumerate(draws)]


def require_one_line(ended: subprocess.CompletedProcess[str]) -> None:
    """The command has said that Ray is gone, and nothing of Ray's or Python's own."""
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    *before, last = ended.stderr.splitlines()
    assert GONE.fullmatch(last), ended.stderr
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in before), ended.stderr


def test_a_sweep_whose_head_goes_spends_no_trial(
    root: Path, tmp_path_factory, empty_mlflow: Path, address: str, monkeypatch
) -> None:
    words = STUDY.split()
    calm = dying(root, 0, "none", "sweep", *words)
    assert calm.returncode == 0, calm.stderr
    expected = rows(root / "studies/s")
    assert len(expected) == 3
    struck = 0
    for at, what in moments(root, 6):
        place = tmp_path_factory.mktemp("gone")
        shutil.copy(empty_mlflow, place)
        ended = dying(place, at, what, "sweep", *words)
        if calls(place) >= at:  # it may have made fewer
            struck += 1
            require_one_line(ended)
        assert not [*place.glob("studies/s/trials/*/failure.json")]
        monkeypatch.setenv("FFTUNE_STORAGE", str(place))
        sweep.main([*words, "--resume"])
        assert rows(place / "studies/s") == expected, (at, what)
        front = json.loads((place / "studies/s/front.json").read_text())
        assert front["failures"] == [] and len(front["points"]) == 3
    assert struck >= 5


def test_an_evaluation_whose_head_goes_goes_on(
    root: Path, tmp_path_factory, empty_mlflow: Path, address: str, monkeypatch
) -> None:
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    train.main(["standard", "--name", "t", "--optimizer.epochs", "1"])
    words = [str(root / "runs/t/checkpoint"), *EXAM.split()]
    calm = dying(root, 0, "none", "evaluate", *words)
    assert calm.returncode == 0, calm.stderr
    expected = rows(root / "rows")
    assert expected
    struck = 0
    for at, what in moments(root, 3):
        place = tmp_path_factory.mktemp("gone")
        shutil.copy(empty_mlflow, place)
        ended = dying(place, at, what, "evaluate", *words)
        if calls(place) >= at and ended.returncode:  # else all blocks were done
            struck += 1
            require_one_line(ended)
        monkeypatch.setenv("FFTUNE_STORAGE", str(place))
        evaluate.main(words)
        assert rows(place / "rows") == expected, (at, what)
    assert struck  # a run asks Ray a little more or less often than another


@pytest.fixture
def settings(tmp_path: Path, empty_mlflow: Path) -> Iterator[dict[str, str]]:
    """Those of clusters/local.sh, whose head ends with the test."""
    there = settings_in(tmp_path)
    shutil.copy(empty_mlflow, there["FFTUNE_STORAGE"])
    yield there
    sh(LOCAL, "stop", env=there)


def test_a_job_whose_head_goes_is_submitted_again(
    root: Path, tmp_path: Path, settings: dict[str, str], monkeypatch
) -> None:
    """Ray ends its driver with the head: to a new head it is submitted with --resume."""
    results = Path(settings["FFTUNE_STORAGE"])
    job = [RAY, "job", "submit", "--working-dir", ".", "--", "python", "-m", "fftune.sweep"]
    job += STUDY.split()
    with begun(job, settings | started(settings), tmp_path / "job") as submitted:
        wait_for((results / "studies/s/trials/1/config.json").exists, submitted, tmp_path / "job")
        kill_head(tmp_path)
    assert not [*results.glob("studies/s/trials/*/failure.json")]

    done = on_a_new_head([*job, "--resume"], settings)

    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    sweep.main([*SEARCH.split(), "--backend", "inline"])
    assert rows(results / "studies/s") == rows(root / "studies/s")
    front = json.loads((results / "studies/s/front.json").read_text())
    assert front["failures"] == [] and len(front["points"]) == 3


def test_an_evaluation_on_a_cluster_whose_head_goes_goes_on(
    root: Path, tmp_path: Path, settings: dict[str, str], monkeypatch
) -> None:
    results = Path(settings["FFTUNE_STORAGE"])
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    train.main(["standard", "--name", "t", "--optimizer.epochs", "1"])
    asked = [str(root / "runs/t/checkpoint"), *LONG.split()]
    exam = [sys.executable, "-m", "fftune", "evaluate", *asked]
    exam += ["--address", f"127.0.0.1:{settings['FFTUNE_RAY_PORT']}"]
    log = tmp_path / "exam"
    with begun(exam, settings | started(settings), log) as evaluation:
        wait_for(lambda: any(results.rglob("blocks/*/*.parquet")), evaluation, log)
        kill_head(tmp_path)
        assert evaluation.wait() == 2
    told = log.read_text().splitlines()
    assert GONE.fullmatch(told[-1]) and "Traceback" not in log.read_text(), told

    done = on_a_new_head(exam, settings)

    assert done.returncode == 0, done.stdout + done.stderr
    evaluate.main(asked)
    assert rows(results / "rows") == rows(root / "rows") != {}


def kill_head(place: Path) -> None:
    """Kill two parts of a head of clusters/local.sh; with it end the drivers of its jobs."""
    head = psutil.Process(int((place / "state/pid").read_text()))
    family = [head, *head.children(recursive=True)]
    kill("both", head.pid)
    psutil.wait_procs(family)


def on_a_new_head(words: list[str], settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that has ended."""
    sh(LOCAL, "stop", env=settings)
    return sh(*words, env=settings | started(settings))


@contextmanager
def begun(words: list[str], env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command while the block runs, which has ended or is killed then."""
    with log.open("w") as file:
        command = subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=file, stderr=file)
    try:
        yield command
    finally:
        command.kill()
        command.wait()


def started(settings: dict[str, str]) -> dict[str, str]:
    """What a head of clusters/local.sh tells `ray job`."""
    told = sh(LOCAL, "start", env=settings)
    assert told.returncode == 0, told.stderr
    return dict(re.findall(r"(RAY_\w+)=(\S+)", told.stdout))
