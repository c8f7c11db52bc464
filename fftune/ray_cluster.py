"""Connect to a Ray cluster, or start a private one on this machine; count what fits on it."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from inspect import signature
from math import floor, inf
from pathlib import Path
from random import SystemRandom
from typing import Any
from uuid import uuid4

from fftune.ray_settings import rays_settings

# Ray reads these when it is imported.
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listeners on loopback only
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.update(rays_settings())
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # it would connect once they run
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its boxes turn to noise in a job's log
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: see fftune.cli.options

import ray
from ray._private import services, worker
from ray.exceptions import AuthenticationError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fftune.allocator import keep_freed
from fftune.config import Resources
from fftune.errors import ClusterError, StorageError
from fftune.named_code import permitted, restrict
from fftune.private_ray import make_token_private, private_temp
from fftune.ray_answer import raylet_asked, require_head, wants_token
from fftune.ray_head import head_watched
from fftune.ray_lines import rays_lines_logged
from fftune.ray_signals import signals_kept

log = logging.getLogger(__name__)


@contextmanager
def cluster(resources: Resources) -> Iterator[None]:
    """Connect to Ray while the block runs; a connection that is open already is reused.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    address = resources.address or os.environ.get("RAY_ADDRESS") or "local"
    log.info("Ray: %s", "starting on this machine" if address == "local" else f"joining {address}")
    require_head(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options |= {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))}
        options["_temp_dir"] = str(private_temp() / "ray")
        make_token_private()
    with rays_lines_logged():
        try:
            _init(address, options)
        except AuthenticationError:
            raise wants_token(address) from None
        except Exception as error:  # Ray's own, of the system, of grpc: all that a start can meet
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ClusterError(f"cluster {address!r} cannot be reached: {reason}") from error
        with _connected(private=address == "local"):
            yield


def _init(address: str, options: dict[str, Any]) -> None:
    """Start or join Ray, or leave nothing of it that would abort the process at its end."""
    try:
        with signals_kept(), ports_told(), raylet_asked():
            ray.init(address=address, **options)
    except BaseException:
        ray.shutdown()
        raise


@contextmanager
def _connected(*, private: bool) -> Iterator[None]:
    """Watch the head while the block runs, and disconnect after it."""
    node: Any = worker._global_node
    if node is None:  # Ray's client stands in between
        try:
            yield
        finally:
            ray.shutdown()
        return
    head, raylet = node.gcs_address, node.raylet_socket_name
    with head_watched(head, raylet, private=private, leave=ray.shutdown):
        yield


AGENT_PORTS = (
    *("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env_agent_port",
)
"""Ports of the agents beside each raylet; their names are Ray's."""


@contextmanager
def ports_told() -> Iterator[None]:
    """Choose the ports of the agents of each node that the block starts, and tell its raylet.

    It waits 15 seconds for files in which they tell theirs, and then ends; a busy machine needs
    longer to start them.
    """
    start = services.start_raylet

    def start_told(*values: Any, **settings: Any) -> Any:
        call = signature(start).bind(*values, **settings)
        given = call.arguments
        for name, port in zip(AGENT_PORTS, _free_ports(len(AGENT_PORTS)), strict=True):
            given[name] = given.get(name) or port
            Path(given["session_dir"], f"{name}_{given['node_id']}").write_text(str(given[name]))
        return start(*call.args, **call.kwargs)

    services.start_raylet = start_told
    try:
        yield
    finally:
        services.start_raylet = start


BELOW_CONNECTIONS = range(25_000, 32_768)
"""Ports that systems give to no connection unless they are told to, nor Ray to a worker."""


def _free_ports(count: int) -> list[int]:
    """Ports to listen on in a while: one that the system chose would be a connection's by then."""
    free = []
    for port in SystemRandom().sample(BELOW_CONNECTIONS, len(BELOW_CONNECTIONS)):
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            free.append(port)
        if len(free) == count:
            return free
    raise ClusterError("no free port on this machine from 25000 to 32767; end what listens there")


@dataclass(frozen=True, slots=True)
class Driver:
    """Surroundings that a worker takes over from its driver."""

    folder: Path
    """Its directory."""
    named: frozenset[str] | None
    """Files of Python's that it may run; see `fftune.named_code`."""

    @staticmethod
    def here() -> "Driver":
        """This process, which will send work to others."""
        return Driver(Path.cwd(), permitted())


def enter_driver(driver: Driver) -> None:
    """Change a worker's directory to the driver's, if this node has it, and set its allocator.

    Ray starts workers in directories of their own, while paths in settings may be relative to the
    driver's. A worker may run no file that the driver may not.
    """
    keep_freed()
    restrict(driver.named)
    if driver.folder.is_dir():
        os.chdir(driver.folder)


def max_concurrent(what: str, needs: Mapping[str, float], workers: int = 1) -> int:
    """Count how many tasks of one kind the connected cluster can run at once.

    Nodes that an autoscaler would start are counted too.

    Args:
        what: name of the task in messages, as in "a trial".
        needs: resources of one worker, all on one node.
        workers: workers of one task, which may be on different nodes.

    Raises:
        ClusterError: not even one task fits (Ray itself would wait forever).
    """
    for name, each in needs.items():
        wanted, has = each * workers, max(_sum(_nodes_now(), name), _sum(_nodes_to_be(), name))
        if wanted > has:
            raise ClusterError(f"{what} needs {wanted:g} {name}s, the cluster has {has:g}")
    room = capacity(needs)
    if room < workers:
        together = " and ".join(f"{each:g} {name}s" for name, each in needs.items() if each)
        if workers == 1:
            raise ClusterError(
                f"{what} needs {together} on one node, and no node has them{_largest(needs)}"
            )
        raise ClusterError(
            f"{what} needs {workers} workers with {together} on one node each, the cluster holds "
            f"{room}"
        )
    return room // workers


def capacity(needs: Mapping[str, float]) -> int:
    """Count how many workers fit on the nodes, present ones or those an autoscaler would start.

    Args:
        needs: resources of one worker, all on one node.
    """

    def holds(nodes: Sequence[tuple[Mapping[str, float], float]]) -> float:
        each = ((_times(resources, needs), count) for resources, count in nodes)
        return sum(times * count for times, count in each if times)  # 0 times infinity is no number

    return int(min(max(holds(_nodes_now()), holds(_nodes_to_be())), sys.maxsize))


def _largest(needs: Mapping[str, float]) -> str:
    """Describe the largest nodes that are there, and those that an autoscaler may start."""

    def most(nodes: Sequence[tuple[Mapping[str, float], float]]) -> str:
        each = (
            f"{max((node.get(name, 0) for node, count in nodes if count), default=0):g} {name}s"
            for name, wanted in needs.items()
            if wanted
        )
        return " and ".join(each)

    later = _nodes_to_be()
    started = f"; an autoscaler may start nodes of at most {most(later)}" if later else ""
    return f": at most {most(_nodes_now())}{started}"


def trials_per_gpu(threads: int) -> int:
    """Count the processes of so many threads for which a GPU has CPUs beside it; at least 1.

    The node with the fewest CPUs for each of its GPUs counts; 0 is a cluster without GPUs.
    """
    nodes = [node for node, count in (*_nodes_now(), *_nodes_to_be()) if count and node.get("GPU")]
    each = [floor(node.get("CPU", 0) / threads / node["GPU"]) for node in nodes]
    return max(1, min(each)) if each else 0


def require_shared_dir(folder: Path) -> None:
    """Check that every node sees what this process writes into a folder.

    For nodes that join later, each worker checks for itself; see `require_run_dir`.

    Raises:
        StorageError: a node does not; one line that names it.
    """
    here = ray.get_runtime_context().get_node_id()
    others = [node for node in _nodes() if node["Alive"] and node["NodeID"] != here]
    marker = folder / f".shared-{uuid4().hex}"
    marker.touch()
    try:
        for node in others:
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = ray.remote(Path.exists).options(num_cpus=0, scheduling_strategy=place)
            if not ray.get(look.remote(marker)):
                raise _not_shared(folder, node["NodeManagerAddress"])
    finally:
        marker.unlink()


def require_run_dir(folder: Path, file: str = "config.json") -> None:
    """Check in a worker that the driver's folder of a run or study is visible on this node.

    A node may have joined after `require_shared_dir`; results written to a folder of its own
    would be lost.

    Args:
        file: a file that the driver has there.

    Raises:
        StorageError: it is not visible; one line that names the node.
    """
    if not (folder / file).exists():
        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        raise _not_shared(folder, address)


def _not_shared(folder: Path, address: str) -> StorageError:
    return StorageError(
        f"storage {str(folder)!r} is not visible on node {address}; "
        "name a folder that all nodes share"
    )


def living_nodes() -> set[str]:
    """Ids of the nodes that are alive."""
    return {node["NodeID"] for node in _nodes() if node["Alive"]}


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _times(resources: Mapping[str, float], needs: Mapping[str, float]) -> int:
    # 1 // 0.2 is 4: a fifth is no binary fraction. Ray counts in units of 0.0001.
    each = [resources.get(name, 0) / wanted + 1e-6 for name, wanted in needs.items() if wanted]
    return floor(min(each, default=1))


def _sum(nodes: Sequence[tuple[Mapping[str, float], float]], name: str) -> float:
    return sum(node[name] * count for node, count in nodes if node.get(name) and count)


def _nodes_now() -> list[tuple[Mapping[str, float], float]]:
    return [(node["Resources"], 1) for node in _nodes() if node["Alive"]]


def _nodes_to_be() -> list[tuple[Mapping[str, float], float]]:
    """Resources of each node type of the autoscaler, and how many it may start (inf: no limit)."""
    config = ray._private.state.state.get_cluster_config()
    kinds = config.node_group_configs if config is not None else ()
    return [(dict(k.resources), inf if k.max_count < 0 else k.max_count) for k in kinds]
