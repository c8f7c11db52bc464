"""The pool on a cluster of several nodes, which die: rows are those of one process."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fftune.ray_cluster import (
    capacity,
    living_nodes,
    max_concurrent,
    ports_told,
    require_shared_dir,
)

# isort: split
import ray
from ray.cluster_utils import Cluster

from fftune.config import BatteryConfig, DataSpec, ModelSpec, Resources, ThreatModel
from fftune.errors import ClusterError, ConfigError, StorageError
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.saved_images import ImageFolder
from fftune.evaluation.scheduler import EvalResult
from fftune.outcomes import Outcomes

pytestmark = [
    pytest.mark.xdist_group("ray"),  # one cluster at a time
    pytest.mark.timeout(1500),  # on a busy machine starts are what takes long
]

CHECKOUT = Path(__file__).parents[2]
NETS = Path(__file__).with_name("pool_net.py")
OTHER = f"{NETS}:net"
BATTERY = BatteryConfig(name="risks", steps=3, examples=240, block_size=8)
TASKS = 2 * 30


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """A head and a node that may die, a CPU each."""
    head = {"num_cpus": 1, "include_dashboard": False}
    with ports_told():
        cluster = Cluster(initialize_head=True, head_node_args=head)
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def inline() -> EvalResult:
    return under_test("net")


def under_test(function: str, *, root: Path | None = None, backend: str = "inline") -> EvalResult:
    spec = ModelSpec(factory=f"{NETS}:{function}")
    threat = ThreatModel(eps=0.1)
    settings = {"threat": threat, "split": "test", "backend": backend, "root": root}
    return evaluate({"net": spec}, DataSpec(), BATTERY, **settings)["net"]


def blocks(root: Path) -> int:
    return len(list(root.glob("blocks/*/*.parquet")))


def wait_for(root: Path, done: int) -> None:
    """Until so many blocks are done."""
    while blocks(root) < done:
        time.sleep(0.02)


def lose_a_node(cluster: Cluster, _draw: random.Random) -> None:
    """One node dies without grace, another joins."""
    victim = next(iter(cluster.worker_nodes))
    cluster.remove_node(victim, allow_graceful=False)
    with ports_told():
        cluster.add_node(num_cpus=1)


def kill_an_actor(cluster: Cluster, draw: random.Random) -> None:
    if alive := actors(cluster):  # on a busy machine the run may be over before its accident
        draw.choice(alive).kill()


def actors(cluster: Cluster) -> list[psutil.Process]:
    """Processes of the pool on all nodes: Ray calls each by what it runs."""
    found = []
    for node in cluster.list_all_nodes():
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        for process in raylet.children(recursive=True):
            with suppress(psutil.Error):
                if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::_Worker"):
                    found.append(process)
    return found


def survive(seeds: Iterable[int], cluster: Cluster, root: Path, inline: EvalResult) -> None:
    """Accidents at random moments of one run move no row."""
    accidents = sorted((random.Random(seed).randrange(1, TASKS - 6), seed) for seed in seeds)
    with ThreadPoolExecutor() as beside:  # nodes can be added by the main thread alone
        run = beside.submit(under_test, "net", root=root, backend="ray")
        for moment, seed in accidents:
            wait_for(root, moment)
            (lose_a_node, kill_an_actor)[seed % 2](cluster, random.Random(seed))
        result = run.result()
    assert not result.lost and result.error is None
    assert result.outcomes.table.equals(inline.outcomes.table)
    assert blocks(root) == TASKS


@pytest.mark.slow
def test_nodes_and_actors_die_at_random_and_no_row_moves(nodes, tmp_path, inline) -> None:
    """A node and an actor; the slow test has twenty more accidents."""
    survive(range(2), nodes, tmp_path, inline)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(3, 23, 4))
def test_whenever_they_die(first, nodes, tmp_path, inline) -> None:
    survive(range(first, first + 4), nodes, tmp_path, inline)


@pytest.mark.slow
def test_points_of_another_net_are_the_same_on_a_cluster(nodes) -> None:
    battery = replace(BATTERY, name="ensemble", tier="screen", examples=40, transfer=(OTHER,))
    spec, threat = ModelSpec(factory=f"{NETS}:net"), ThreatModel(eps=0.1)
    here, there = (
        evaluate({"net": spec}, DataSpec(), battery, threat=threat, backend=backend)["net"]
        for backend in ("inline", "ray")
    )
    assert "transfer-net" in here.complete().values("attack")
    assert there.complete().table.equals(here.complete().table)


@pytest.mark.slow
def test_a_block_that_always_kills_is_recorded_and_the_others_are_scored(
    nodes, tmp_path, monkeypatch
) -> None:
    """Of 15 examples the second block has 7, which this net does not survive."""
    monkeypatch.setenv("FFTUNE_TEST_DRIVER", str(os.getpid()))
    spec = ModelSpec(factory=f"{NETS}:suicidal")
    battery = BatteryConfig(name="risks", steps=1, examples=15, block_size=8)
    settings = {"threat": ThreatModel(eps=0.1), "split": "test", "root": tmp_path}
    result = evaluate({"net": spec}, DataSpec(), battery, backend="ray", **settings)["net"]
    assert len(result.lost) == 2  # of either goal
    assert all("failed 3 times" in lost.reason for lost in result.lost)
    assert len(result.outcomes) == 2 * 8


@pytest.mark.slow
def test_what_no_node_has_is_refused(nodes) -> None:
    """Nodes are looked at one by one: two CPUs on two nodes are not two on one."""
    nodes.wait_for_nodes()
    with pytest.raises(ClusterError, match="an actor needs 4096 CPUs, the cluster has"):
        max_concurrent("an actor", {"CPU": 4096})
    with pytest.raises(ClusterError, match="an actor needs 2 CPUs on one node, and no node has"):
        max_concurrent("an actor", {"CPU": 2, "GPU": 0})
    assert capacity({"CPU": 1, "GPU": 0}) == len(living_nodes()) == 2
    assert capacity({"CPU": 0.5, "GPU": 0}) == 4
    with pytest.raises(ConfigError, match="gpus must be > 0 for device 'cuda'"):
        evaluate(
            {"net": ModelSpec(factory=f"{NETS}:net")},
            DataSpec(),
            BatteryConfig(device="cuda"),
            threat=ThreatModel(),
            split="test",
            backend="ray",
            resources=Resources(),
        )


@pytest.mark.slow
@pytest.mark.timeout(3 * 3600)
def test_the_nine_on_a_real_net_survive_a_node(nodes, tmp_path) -> None:
    """`fastat_small`, 128 images of CIFAR-10; a node is lost after a third, another joins."""
    shared = Path(os.environ.get("FFTUNE_SHARED", CHECKOUT.parent / "shared"))
    data = Path(os.environ.get("FFTUNE_DATA", "~/.cache/fftune/datasets")).expanduser()
    if not (shared / "models").exists() or not (data / "cifar10").exists():
        pytest.skip("the shared nets or images are not here")
    nets = {"net": ModelSpec(factory=f"{shared / 'models/architectures.py'}:load:fastat_small")}
    cifar10 = DataSpec(name=f"folder:{data / 'cifar10'}")
    battery = BatteryConfig(name="nine", examples=128, block_size=16)
    settings = {"threat": ThreatModel(), "split": "test"}
    alone = evaluate(nets, cifar10, battery, **settings)["net"]
    with ThreadPoolExecutor() as beside:
        settings |= {"backend": "ray", "root": tmp_path}
        run = beside.submit(evaluate, nets, cifar10, battery, **settings)
        wait_for(tmp_path, 9 * 8 // 3)
        lose_a_node(nodes, random.Random(0))
        pooled = run.result()["net"]
    assert not pooled.lost
    assert pooled.outcomes.table.equals(alone.outcomes.table)
    assert len(alone.outcomes) == 9 * 128


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_refused(nodes, tmp_path) -> None:
    """The driver's own file descriptors lead nowhere in other processes."""
    require_shared_dir(tmp_path)
    open_here = os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC)
    with pytest.raises(StorageError, match="is not visible on node .*; name a folder that all"):
        require_shared_dir(Path(f"/proc/self/fd/{open_here}"))
    os.close(open_here)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_driver_is_killed_and_the_same_command_goes_on(nodes, tmp_path, inline, root) -> None:
    command = [sys.executable, "-m", "fftune.evaluate", "--model", f"{NETS}:net", "--data=digits"]
    command += ["--battery=risks", "--battery.steps=3", "--examples=240", "--eps=0.1"]
    command += ["--battery.block-size=8", f"--storage={root}", f"--rows={tmp_path / 'r.parquet'}"]
    command += [f"--address={nodes.address}"]
    first = subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE)
    wait_for(root, TASKS // 3)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    before = blocks(root)
    assert TASKS // 3 <= before < TASKS
    again = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{before} of {TASKS} blocks are known already" in again.stderr
    assert Outcomes.read(tmp_path / "r.parquet").table.equals(inline.outcomes.table)
    assert not (tmp_path / "r.missing.json").exists()


@pytest.mark.slow
def test_a_worker_out_of_memory_is_replaced(tmp_path, inline) -> None:
    """A node of its own, whose memory monitor kills the one that eats too much."""
    meal = tmp_path / "meal"
    meal.touch()
    code = f"""
import json
from pathlib import Path
import psutil
memory = psutil.virtual_memory()
import os
share = (memory.total - memory.available + 3 * 2**30) / memory.total
os.environ["RAY_memory_usage_threshold"] = str(share)
os.environ["RAY_memory_monitor_refresh_ms"] = "100"
from fftune.config import *
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.saved_images import ImageFolder
spec = ModelSpec(factory={f"{NETS}:hungry"!r})
battery = BatteryConfig(name="risks", steps=3, examples=240, block_size=8)
Path({str(meal)!r}).unlink()
import threading, time
threading.Timer(25, Path({str(meal)!r}).touch).start()
result = evaluate({{"net": spec}}, DataSpec(), battery, threat=ThreatModel(eps=0.1), split="test",
                 backend="ray", resources=Resources(address="local"))["net"]
print(json.dumps([len(result.lost), len(result.outcomes)]))
result.outcomes.write(Path({str(tmp_path / "rows.parquet")!r}))
"""
    environment = os.environ | {"FFTUNE_TEST_MEAL": str(meal)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 2 * 240]
    assert not meal.exists()


@pytest.mark.slow
def test_images_and_news_are_those_of_one_process(
    nodes: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every file has the same bytes, and searches of an ensemble are told with the same shares."""
    battery = BatteryConfig(name="ensemble", tier="screen", steps=2, examples=16, block_size=8)
    files, news = {}, {}
    for backend in ("inline", "ray"):
        caplog.clear()
        with caplog.at_level("INFO", logger="fftune.evaluation"):
            found = evaluate(
                {"net": ModelSpec(factory=OTHER)},
                DataSpec(),
                battery,
                threat=ThreatModel(eps=0.1),
                backend=backend,
                resources=Resources(concurrency=1),
                keep={"net": ImageFolder(folder=tmp_path / backend)},
            )
        found["net"].complete()
        written = (path for path in (tmp_path / backend).rglob("*") if path.is_file())
        files[backend] = {p.relative_to(tmp_path / backend): p.read_bytes() for p in written}
        told = [line for line in caplog.messages if "accuracy after" in line]
        news[backend] = {line.rpartition(" (")[0] for line in told}
    assert len(files["inline"]) > 16 and files["ray"] == files["inline"]
    assert len(news["inline"]) > 1 and news["ray"] == news["inline"]
