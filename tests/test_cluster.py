"""What a cluster holds, counted by hand: nodes are looked at one by one, and those to come."""

from dataclasses import replace
from pathlib import Path

import pytest

from fftune import cluster
from fftune.config import Resources
from fftune.errors import ClusterError
from fftune.sweep.on_ray import at_once


@pytest.fixture
def nodes(monkeypatch):
    """Sets the nodes that are there, and the kinds that an autoscaler would start."""

    def set_to(now, to_be=()) -> None:
        monkeypatch.setattr(cluster, "_nodes_now", lambda: [(node, 1) for node in now])
        monkeypatch.setattr(cluster, "_nodes_to_be", lambda: list(to_be))

    return set_to


def test_two_halves_on_two_nodes_are_no_whole(nodes) -> None:
    nodes([{"CPU": 1}, {"CPU": 1}])
    assert cluster.fits("an actor", {"CPU": 1, "GPU": 0}) == 2
    assert cluster.could_hold({"CPU": 0.5}) == 4
    with pytest.raises(ClusterError, match="an actor needs 2 CPUs on one node, and no node has"):
        cluster.fits("an actor", {"CPU": 2, "GPU": 0})
    with pytest.raises(ClusterError, match="an actor needs 3 CPUs, the cluster has 2"):
        cluster.fits("an actor", {"CPU": 3})


def test_the_scarcest_resource_counts(nodes) -> None:
    nodes([{"CPU": 16, "GPU": 1}, {"CPU": 64}])
    assert cluster.fits("a trial", {"CPU": 4, "GPU": 0.5}) == 2
    assert cluster.fits("a trial", {"CPU": 4}) == 20
    with pytest.raises(ClusterError, match="a trial needs 2 GPUs, the cluster has 1"):
        cluster.fits("a trial", {"CPU": 1, "GPU": 2})


def test_a_cluster_that_is_scaled_to_zero_is_not_refused(nodes) -> None:
    """A head without CPUs, and four machines that Ray would start."""
    nodes([{"CPU": 0}], [({"CPU": 0}, 1), ({"CPU": 8, "GPU": 1}, 4)])
    assert cluster.fits("a trial", {"CPU": 4, "GPU": 1}) == 4
    nodes([{"CPU": 0}], [({"CPU": 8}, float("inf"))])
    assert cluster.fits("a trial", {"CPU": 4}) > 10**9
    with pytest.raises(ClusterError, match="needs 1 GPUs, the cluster has 0"):
        cluster.fits("a trial", {"CPU": 4, "GPU": 1})
    assert cluster.could_hold({"CPU": 4, "GPU": 1}) == 0


def test_workers_of_one_training_may_lie_on_different_nodes(nodes) -> None:
    """Eight machines with a card each hold eight workers, or two times four."""
    nodes([{"CPU": 4, "GPU": 1}] * 8)
    assert cluster.fits("training", {"CPU": 1, "GPU": 1}, 8) == 1
    assert cluster.fits("a trial", {"CPU": 1, "GPU": 1}, 4) == 2
    assert cluster.fits("a trial", {"CPU": 1, "GPU": 1}, 3) == 2  # two cards are left over
    assert cluster.fits("a trial", {"CPU": 2, "GPU": 0}, 5) == 3  # 16 places
    with pytest.raises(ClusterError, match="training needs 9 GPUs, the cluster has 8$"):
        cluster.fits("training", {"CPU": 1, "GPU": 1}, 9)
    with pytest.raises(ClusterError) as refused:
        cluster.fits("training", {"CPU": 3, "GPU": 0}, 10)
    assert str(refused.value) == (
        "training needs 10 workers with 3 CPUs on one node each, the cluster holds 8"
    )


def test_workers_may_lie_on_nodes_to_come(nodes) -> None:
    """An autoscaler's kinds count as often as it may start them."""
    nodes([{"CPU": 0}], [({"CPU": 0}, 1), ({"CPU": 8, "GPU": 1}, 4)])
    assert cluster.fits("training", {"CPU": 2, "GPU": 1}, 4) == 1
    assert cluster.fits("a trial", {"CPU": 2, "GPU": 0}, 5) == 3
    with pytest.raises(ClusterError, match="training needs 5 GPUs, the cluster has 4$"):
        cluster.fits("training", {"CPU": 2, "GPU": 1}, 5)
    nodes([{"CPU": 0}], [({"CPU": 8, "GPU": 1}, float("inf"))])
    assert cluster.fits("training", {"CPU": 8, "GPU": 1}, 1000) > 10**9
    nodes([{"CPU": 8}], [({"CPU": 8}, 0)])
    assert cluster.fits("training", {"CPU": 4}, 2) == 1


@pytest.mark.parametrize(
    ("workers", "gpus", "asked", "expected"),
    [
        (1, 0.5, None, 16),
        (2, 1.0, None, 4),
        (2, 1.0, 3, 3),
        (5, 1.0, None, 1),
    ],
)
def test_trials_at_once(nodes, quick, workers, gpus, asked, expected) -> None:
    nodes([{"CPU": 4, "GPU": 1}] * 8)
    base = replace(quick.base, workers=workers)
    config = replace(quick, base=base, stopping=replace(quick.stopping, rungs=()))
    assert at_once(config, Resources(gpus=gpus, concurrency=asked)) == expected


def test_a_worker_stands_where_the_driver_does_if_it_can(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "driver").mkdir()
    cluster.stand_in(tmp_path / "driver")
    assert Path.cwd() == tmp_path / "driver"
    cluster.stand_in(tmp_path / "elsewhere")
    assert Path.cwd() == tmp_path / "driver"
