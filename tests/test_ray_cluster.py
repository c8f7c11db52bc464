"""What a cluster holds, counted by hand: nodes are looked at one by one, and those to come."""

import ctypes
import os
import pickle
import re
import runpy
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fftune import ray_cluster as cluster  # before Ray, whose start it sets

# isort: split
from ray.exceptions import AuthenticationError

from fftune import named_code
from fftune.config import Resources
from fftune.errors import ClusterError, ConfigError
from fftune.ray_settings import WAITS
from fftune.ray_signals import let_cpp_install, signals_kept, worker
from fftune.sweeping.ray_tune import at_once


@pytest.fixture
def nodes(monkeypatch):
    """Sets the nodes that are there, and the kinds that an autoscaler would start."""

    def set_to(now, to_be=()) -> None:
        monkeypatch.setattr(cluster, "_nodes_now", lambda: [(node, 1) for node in now])
        monkeypatch.setattr(cluster, "_nodes_to_be", lambda: list(to_be))

    return set_to


def test_two_halves_on_two_nodes_are_no_whole(nodes) -> None:
    nodes([{"CPU": 1}, {"CPU": 1}])
    assert cluster.max_concurrent("an actor", {"CPU": 1, "GPU": 0}) == 2
    assert cluster.capacity({"CPU": 0.5}) == 4
    with pytest.raises(ClusterError, match="an actor needs 2 CPUs on one node, and no node has"):
        cluster.max_concurrent("an actor", {"CPU": 2, "GPU": 0})
    with pytest.raises(ClusterError, match="an actor needs 3 CPUs, the cluster has 2"):
        cluster.max_concurrent("an actor", {"CPU": 3})


def test_the_scarcest_resource_counts(nodes) -> None:
    nodes([{"CPU": 16, "GPU": 1}, {"CPU": 64}])
    assert cluster.max_concurrent("a trial", {"CPU": 4, "GPU": 0.5}) == 2
    assert cluster.max_concurrent("a trial", {"CPU": 4}) == 20
    with pytest.raises(ClusterError, match="a trial needs 2 GPUs, the cluster has 1"):
        cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 2})


@pytest.mark.parametrize(("share", "expected"), [(0.2, 5), (0.1, 10), (0.3333, 3), (0.7, 1)])
def test_shares_that_are_no_binary_fractions(nodes, share: float, expected: int) -> None:
    nodes([{"CPU": 16, "GPU": 1}])
    assert cluster.capacity({"CPU": 1, "GPU": share}) == expected


def test_more_gpus_than_any_node_has_are_refused_with_the_largest(nodes) -> None:
    nodes([{"CPU": 4, "GPU": 1}] * 2)
    with pytest.raises(ClusterError) as refused:
        cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 2})
    assert str(refused.value) == (
        "a trial needs 1 CPUs and 2 GPUs on one node, and no node has them: at most 4 CPUs and "
        "1 GPUs"
    )
    nodes([{"CPU": 4}], [({"CPU": 4, "GPU": 1}, 4), ({"CPU": 96, "GPU": 8}, 0)])
    with pytest.raises(ClusterError) as refused:
        cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 2})
    assert str(refused.value).endswith(
        "at most 4 CPUs and 0 GPUs; an autoscaler may start nodes of at most 4 CPUs and 1 GPUs"
    )
    with pytest.raises(ClusterError, match="a trial needs 5 GPUs, the cluster has 4$"):
        cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 5})


def test_trials_for_which_a_card_has_cpus_beside_it(nodes) -> None:
    nodes([{"CPU": 64}])
    assert cluster.trials_per_gpu(1) == 0
    nodes([{"CPU": 64}, {"CPU": 16, "GPU": 2}], [({"CPU": 8, "GPU": 2}, 0)])
    assert cluster.trials_per_gpu(1) == 8
    assert cluster.trials_per_gpu(3) == 2
    assert cluster.trials_per_gpu(16) == 1
    nodes([{"CPU": 1}], [({"CPU": 12, "GPU": 4}, 3)])
    assert cluster.trials_per_gpu(1) == 3


def test_a_cluster_that_is_scaled_to_zero_is_not_refused(nodes) -> None:
    """A head without CPUs, and four machines that Ray would start."""
    nodes([{"CPU": 0}], [({"CPU": 0}, 1), ({"CPU": 8, "GPU": 1}, 4)])
    assert cluster.max_concurrent("a trial", {"CPU": 4, "GPU": 1}) == 4
    nodes([{"CPU": 0}], [({"CPU": 8}, float("inf"))])
    assert cluster.max_concurrent("a trial", {"CPU": 4}) > 10**9
    with pytest.raises(ClusterError, match="needs 1 GPUs, the cluster has 0"):
        cluster.max_concurrent("a trial", {"CPU": 4, "GPU": 1})
    assert cluster.capacity({"CPU": 4, "GPU": 1}) == 0


def test_workers_of_one_training_may_lie_on_different_nodes(nodes) -> None:
    """Eight machines with a card each hold eight workers, or two times four."""
    nodes([{"CPU": 4, "GPU": 1}] * 8)
    assert cluster.max_concurrent("training", {"CPU": 1, "GPU": 1}, 8) == 1
    assert cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 1}, 4) == 2
    assert (
        cluster.max_concurrent("a trial", {"CPU": 1, "GPU": 1}, 3) == 2
    )  # two cards are left over
    assert cluster.max_concurrent("a trial", {"CPU": 2, "GPU": 0}, 5) == 3  # 16 places
    with pytest.raises(ClusterError, match="training needs 9 GPUs, the cluster has 8$"):
        cluster.max_concurrent("training", {"CPU": 1, "GPU": 1}, 9)
    with pytest.raises(ClusterError) as refused:
        cluster.max_concurrent("training", {"CPU": 3, "GPU": 0}, 10)
    assert str(refused.value) == (
        "training needs 10 workers with 3 CPUs on one node each, the cluster holds 8"
    )


def test_workers_may_lie_on_nodes_to_come(nodes) -> None:
    """An autoscaler's kinds count as often as it may start them."""
    nodes([{"CPU": 0}], [({"CPU": 0}, 1), ({"CPU": 8, "GPU": 1}, 4)])
    assert cluster.max_concurrent("training", {"CPU": 2, "GPU": 1}, 4) == 1
    assert cluster.max_concurrent("a trial", {"CPU": 2, "GPU": 0}, 5) == 3
    with pytest.raises(ClusterError, match="training needs 5 GPUs, the cluster has 4$"):
        cluster.max_concurrent("training", {"CPU": 2, "GPU": 1}, 5)
    nodes([{"CPU": 0}], [({"CPU": 8, "GPU": 1}, float("inf"))])
    assert cluster.max_concurrent("training", {"CPU": 8, "GPU": 1}, 1000) > 10**9
    nodes([{"CPU": 8}], [({"CPU": 8}, 0)])
    assert cluster.max_concurrent("training", {"CPU": 4}, 2) == 1


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


@pytest.fixture
def ray_init(monkeypatch) -> list[str]:
    """The addresses that Ray is asked to join; it does not start."""
    asked: list[str] = []
    monkeypatch.setattr(cluster.ray, "init", lambda address, **_options: asked.append(address))
    return asked


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home without a token, where none is given otherwise."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_token_of_a_private_ray_is_for_its_owner_alone(home, ray_init) -> None:
    token = home / ".ray/auth_token"
    with cluster.cluster(Resources()):
        assert re.fullmatch("[0-9a-f]{64}", token.read_text())
    assert (mode(token), mode(token.parent)) == (0o600, 0o700)
    text = token.read_text()
    token.chmod(0o644)  # as Ray leaves it
    with cluster.cluster(Resources()):
        assert token.read_text() == text
    assert mode(token) == 0o600
    assert ray_init == ["local", "local"]


@pytest.mark.parametrize(
    "env",
    [
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        {"RAY_AUTH_TOKEN_PATH": "/elsewhere"},
    ],
)
def test_a_token_that_is_given_otherwise_is_left_alone(home, ray_init, monkeypatch, env) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with cluster.cluster(Resources()):
        assert not (home / ".ray").exists()


def test_a_cluster_that_is_joined_has_its_own_token(home, ray_init) -> None:
    with cluster.cluster(Resources(address="auto")):
        assert not (home / ".ray").exists()
    assert ray_init == ["auto"]


def test_a_raylet_is_told_the_ports_of_its_agents(tmp_path, monkeypatch) -> None:
    """Those that are not given are chosen; files say what the raylet and the agents are given."""
    started = {}

    def start(session_dir, node_id, metrics_agent_port=None, metrics_export_port=None,
              dashboard_agent_listen_port=None, runtime_env_agent_port=0) -> None:  # fmt: skip
        started.update(locals())

    monkeypatch.setattr(cluster.services, "start_raylet", start)
    with cluster.ports_told():
        cluster.services.start_raylet(str(tmp_path), "7f", metrics_export_port=4711)
    assert cluster.services.start_raylet is start
    files = {path.name.removesuffix("_7f"): path.read_text() for path in tmp_path.iterdir()}
    assert files == {name: str(started[name]) for name in cluster.AGENT_PORTS}
    assert files["metrics_export_port"] == "4711" and len({*files.values(), "0"}) == 5
    chosen = [int(port) for name, port in files.items() if name != "metrics_export_port"]
    assert all(25_000 <= port < 32_768 for port in chosen)  # which no connection is given


@pytest.mark.parametrize("where", ["a file", "nowhere"])
def test_without_a_home_the_token_is_in_the_environment(home, ray_init, monkeypatch, where) -> None:
    """And in no file: whoever may read this process's environment is its own user."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    if where == "nowhere":
        monkeypatch.setenv("HOME", "/proc/nobody")
    else:
        (home / ".ray").write_text("a file")
    for _ in range(2):
        with cluster.cluster(Resources()):
            kept = os.environ["RAY_AUTH_TOKEN"]
    assert len(kept) == 64 and kept == os.environ["RAY_AUTH_TOKEN"]
    assert ray_init == ["local", "local"]


def test_a_missing_token_is_one_line_wherever_the_cluster_is(home, monkeypatch) -> None:
    """ "auto" names no endpoint to try: Ray itself finds out."""

    def refuse(**_options) -> None:
        raise AuthenticationError("Token authentication is enabled but no token was found.\n...")

    monkeypatch.setattr(cluster.ray, "init", refuse)
    with pytest.raises(ClusterError) as refused:
        cluster.cluster(Resources(address="auto")).__enter__()
    assert str(refused.value) == (
        "cluster 'auto' rejects the token, or wants one; set RAY_AUTH_MODE=token and give the "
        "path of the token file in RAY_AUTH_TOKEN_PATH"
    )


def test_a_worker_stands_where_the_driver_does_if_it_can(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "driver").mkdir()
    for name in ("driver", "elsewhere"):
        cluster.enter_driver(cluster.Driver(tmp_path / name, named_code.permitted()))
        assert Path.cwd() == tmp_path / "driver"


def test_a_worker_may_run_what_its_driver_may(monkeypatch) -> None:
    monkeypatch.setattr(named_code, "_named", frozenset({"/mine.py"}))
    driver = pickle.loads(pickle.dumps(cluster.Driver.here()))
    named_code.restrict(None)
    cluster.enter_driver(driver)
    assert named_code.permitted() == {"/mine.py"}


def test_the_commands_own_handler_of_sigterm_outlives_the_start_of_ray() -> None:
    """Ray's ends the process without a word of ours, and prints a trace of C++ before."""

    def ours(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ours)
    try:
        with signals_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_waits_while_ray_connects(monkeypatch, number: int) -> None:
    """Raised in the middle of Ray's C++, it would abort the process; the second may."""
    told: list[str] = []

    def ours(*_: object) -> None:
        raise KeyboardInterrupt

    def connect(times: int) -> None:
        for _ in range(times):
            os.kill(os.getpid(), number)
            told.append("after a signal")

    monkeypatch.setattr(worker, "connect", connect)
    before = signal.signal(number, ours)
    try:
        for times in (1, 2):
            with pytest.raises(KeyboardInterrupt), signals_kept():
                worker.connect(times)
            assert signal.getsignal(number) is ours
    finally:
        signal.signal(number, before)
    assert told == ["after a signal"] * 2 and worker.connect is connect


def test_rays_cpp_takes_no_signal_over_while_it_connects(monkeypatch) -> None:
    """Its handler aborts the process after 3 seconds, also where Python's would only wait."""
    monkeypatch.setattr(worker, "connect", lambda: (let_cpp_install(), at_sigterm()))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pythons = at_sigterm()
        with signals_kept():
            assert worker.connect() == (None, pythons)
        assert at_sigterm() == pythons
    finally:
        signal.signal(signal.SIGTERM, before)


def at_sigterm() -> int:
    """Address of the function that the process runs at SIGTERM, as the system knows it."""
    action = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).sigaction(signal.SIGTERM, None, action) == 0
    return int.from_bytes(action.raw[: ctypes.sizeof(ctypes.c_void_p)], sys.byteorder)


def started_with(**settings: str) -> subprocess.CompletedProcess[str]:
    """A process that does what commands do before they import Ray."""
    code = "import sys, fftune.ray_settings as s; s.rays_settings(); print('ray' in sys.modules)"
    program = ["from fftune.cli.options import run", "def check(_):", f"    {code}"]
    program += ["check.__module__ = 'fftune.cli.sweep'", "run(check, [])"]
    command = [sys.executable, "-c", "\n".join(program)]
    env = {**os.environ, **settings}
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("value", ["high", "1.5", ""])
@pytest.mark.some(1)
def test_a_setting_that_ray_cannot_read_is_one_line(value: str) -> None:
    """Ray's C++ would end the process by SIGSEGV; beside it are settings that it can read."""
    done = started_with(
        RAY_worker_niceness=value,
        RAY_event_stats="false",
        RAY_memory_usage_threshold=".9",
        RAY_of_no_such_name="x",
    )
    told = f"fftune: environment variable RAY_worker_niceness is {value!r}, which Ray cannot read"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, told)
    assert "Traceback" not in done.stderr


def test_settings_that_ray_can_read_pass() -> None:
    done = started_with(RAY_event_stats="false", RAY_memory_usage_threshold=".9")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.parametrize("name", WAITS)
@pytest.mark.parametrize("value", ["", "0.0", "-1", "long", "\u0663"])
def test_a_wait_that_is_no_number_is_one_line(monkeypatch, name: str, value: str) -> None:
    """Ray's C++ would end the process with a signal, when Ray is imported."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        runpy.run_path(cluster.__file__)
    told = f"environment variable {name} is {value!r}, no number of seconds"
    assert str(refused.value) == told
