"""Trials that share cards on a real Ray; its GPUs are numbers, no card is needed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.ray_cluster import cluster, ports_told  # before Ray, whose start it sets

# isort: split
import ray
from ray.cluster_utils import Cluster

from fftune import recipes
from fftune.config import Dimension, Resources
from fftune.errors import OutOfMemoryError
from fftune.sweeping.sweep import sweep
from tests.sweeping.memory_kind import KIND

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(1500)]

CHECKOUT = Path(__file__).parents[2]
FITTING = (Dimension(path="need", choices=(0.2, 0.9, 0.3)),)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster with eight CPUs and two cards, neither of which need be there."""
    if ray.is_initialized():
        ray.shutdown()
    head = {"num_cpus": 8, "num_gpus": 2, "include_dashboard": False}
    with ports_told():
        nodes = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=nodes.address, log_to_driver=False)
    with cluster(Resources()):
        yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "needs.py"
    path.write_text(KIND)
    return path


@pytest.fixture
def needs(file: Path):
    return recipes.find(str(file))("tiny")


def asked(root: Path) -> list[tuple[float, float]]:
    lines = (root / "studies/needs/asked").read_text().splitlines()
    return [(float(need), float(share)) for need, share in map(str.split, lines)]


@pytest.mark.usefixtures("address")
def test_auto_measures_and_a_trial_that_runs_out_is_placed_anew(needs, root: Path, caplog) -> None:
    caplog.set_level("INFO", "fftune")
    fitting = replace(needs, space=FITTING)
    front = sweep(fitting, root=root, resources=Resources(gpus="auto"))

    share = json.loads((root / "studies/needs/card_share.json").read_text())
    told = "4 trials share a card: 2.0 of 10 GiB each (a card of the tests)"
    assert share == {"gpus": 0.25, "reason": told}
    assert told in caplog.messages
    assert "trial 1 ran out of memory, and goes on with 0.5 of a card" in caplog.messages
    by_need = {need: [s for n, s in asked(root) if n == need] for need, _ in asked(root)}
    assert by_need == {
        0.2: [0.25],
        0.9: [0.25, 0.5, 1.0],
        0.3: [0.25, 0.5],
    }
    assert {r.settings["need"]: r.trial for r in front.results} == {0.2: 0, 0.9: 1, 0.3: 2}
    assert front.failures == ()
    inline = replace(fitting, name="inline")
    counts = [
        p.test
        for p in sweep(inline, root=root, backend="inline", resources=Resources(gpus=0.25)).results
    ]
    assert counts == [p.test for p in front.results]


@pytest.mark.usefixtures("address")
def test_what_runs_out_of_a_whole_card_ends_the_study_and_spends_no_trial(needs, root) -> None:
    """The worker's error is the driver's, across the border of the process."""
    large = replace(needs, space=(Dimension(path="need", choices=(3.0, 4.0)),))
    told = (
        r"^out of memory, 2.00 GiB more .*optimizer.accumulate .* \(trial . is left to --resume\)$"
    )
    with pytest.raises(OutOfMemoryError, match=told):
        sweep(large, root=root, resources=Resources(gpus=1.0))
    assert [*root.glob("studies/needs/trials/*/failure.json")] == []


def test_a_driver_that_dies_in_between_loses_no_share(
    file: Path, needs, root: Path, address: str
) -> None:
    """SIGKILL while the trial of 0.9 runs on a whole card; --resume gives it one at once."""
    folder = root / "studies/needs"
    folder.mkdir(parents=True)
    (folder / "die").touch()
    words = [sys.executable, "-m", "fftune.sweep", str(file), "--storage", str(root)]
    words += ["--address", address, "--gpus", "0.25", "--strategy", "grid"]
    words += ["--space", *map(str, FITTING)]
    with (root / "log").open("w") as log:
        driver = subprocess.Popen(words, cwd=CHECKOUT, stdout=log, stderr=log)
    while not (folder / "asked").exists() or (0.9, 1.0) not in asked(root):
        assert driver.poll() is None, (root / "log").read_text()
        time.sleep(0.05)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    (folder / "die").unlink()
    (folder / "asked").rename(root / "before")

    fitting = replace(needs, space=FITTING)
    front = sweep(fitting, root=root, resources=Resources(gpus=0.25), resume=True)

    assert [share for need, share in asked(root) if need == 0.9] == [1.0]
    assert {r.settings["need"] for r in front.results} == {0.2, 0.9, 0.3}


@pytest.mark.usefixtures("address")
def test_a_trial_for_the_cpu_takes_no_card(quick, root: Path, caplog) -> None:
    caplog.set_level("INFO", "fftune")
    lam = Dimension(path="lam", choices=(0.0, 1.0))
    cpu = replace(quick, strategy="grid", space=(lam,), base=replace(quick.base, device="cpu"))
    front = sweep(cpu, root=root, resources=Resources(gpus="auto"))
    assert len(front.results) == 2
    assert "trials are to run on CPUs: no trial takes a GPU" in caplog.messages
