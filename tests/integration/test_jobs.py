"""`ray job submit` against the head that clusters/local.sh starts, as the README tells it."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest

from tests import patience
from tests.patience import first_of_free, free_ports

pytestmark = [
    pytest.mark.xdist_group("ray"),  # one cluster at a time
    pytest.mark.timeout(1500),  # on a busy machine starts are what takes long
]

CHECKOUT = Path(__file__).parents[2]
LOCAL = CHECKOUT / "clusters/local.sh"
RAY = Path(sys.executable).with_name("ray")
JOIN = """
import os, sys
from fftune.cli.options import run
from fftune.ray_cluster import cluster
from fftune.config import Resources

def join(_):
    with cluster(Resources(address=f"127.0.0.1:{sys.argv[1]}")):
        pass

join.__module__ = "fftune.cli.sweep"  # a verb's
for token in sys.argv[2:]:  # Ray is imported once, and reads its token in each child anew
    if not (child := os.fork()):
        if token:
            os.environ["RAY_AUTH_TOKEN"] = token
        run(join, [])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def sh(*arguments: object, env: dict[str, str]):
    return subprocess.run(
        [*map(str, arguments)],
        cwd=CHECKOUT,
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> dict[str, str]:
    return settings_in(tmp_path_factory.mktemp("cluster"))


def settings_in(root: Path) -> dict[str, str]:
    """The environment of a head whose state and results lie in a folder."""
    (root / "results").mkdir()
    ports = [*free_ports(3), first_of_free(4)]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "FFTUNE_VENV": str(Path(sys.executable).parents[1]),
        "FFTUNE_CLUSTER_DIR": str(root / "state"),
        "FFTUNE_STORAGE": str(root / "results"),
        "FFTUNE_RAY_PORT": str(ports[0]),
        "FFTUNE_RAY_DASHBOARD_PORT": str(ports[1]),
        "FFTUNE_RAY_CLIENT_PORT": str(ports[2]),
        "FFTUNE_RAY_AGENT_PORT": str(ports[3]),
        "FFTUNE_RAY_WORKER_PORTS": "24000",
        "FFTUNE_RAY_START_SECONDS": "1200",
        **patience.RAY,
    }


@pytest.fixture(scope="module")
def cluster(settings: dict[str, str]) -> Iterator[dict[str, str]]:
    """The environment after `eval "$(clusters/local.sh start)"`."""
    started = sh(LOCAL, "start", env=settings)
    assert started.returncode == 0, started.stderr
    pid = int(Path(settings["FFTUNE_CLUSTER_DIR"], "pid").read_text())
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    exports = dict(re.findall(r"(RAY_\w+)=(\S+)", started.stdout))
    yield {**settings, **exports}
    stopped = sh(LOCAL, "stop", env=settings)
    assert stopped.returncode == 0, stopped.stderr
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def submit(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return sh(RAY, "job", "submit", "--working-dir", ".", "--", *arguments, env=env)


def asked(
    cluster: dict[str, str], path: str, *, token: str | None, body: Any = None
) -> tuple[int, Any]:
    """Status and answer of the head's API, which `ray job` asks too, by a slow start."""
    request = urllib.request.Request(
        cluster["RAY_API_SERVER_ADDRESS"] + path,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        data=body and json.dumps(body).encode(),
    )
    status, text = answered(request)
    return status, json.loads(text) if text else None


def answered(request: urllib.request.Request) -> tuple[int, str]:
    """Status and text of an answer; no text where it is refused."""
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, ""


def job_of(cluster: dict[str, str], job: str) -> dict[str, Any]:
    """What the head knows of a job that has ended."""
    while True:
        status, told = asked(cluster, f"/api/jobs/{job}", token=token_of(cluster))
        assert status == 200
        if told["status"] in ("SUCCEEDED", "FAILED", "STOPPED"):
            return told
        time.sleep(0.2)


def token_of(cluster: dict[str, str]) -> str:
    return Path(cluster["FFTUNE_CLUSTER_DIR"], "token").read_text().strip()


def test_the_tests_of_clusters_share_a_worker(request) -> None:
    """pytest-xdist writes the group into the name, and nothing else tells that it heeds it."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    assert alone or request.node.nodeid.endswith("@ray")


def test_a_sweep_as_a_job(cluster: dict[str, str]) -> None:
    quick = "--trials 2 --base.optimizer.epochs 2 --battery.steps 2 --battery.examples 64"
    done = submit(cluster, *f"python -m fftune.sweep thrm --scale tiny {quick}".split())
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if "thrm-tiny trial" in line]
    assert len(lines) == 2
    assert "trial 2/2 lam" in lines[1]
    assert "once a false friend has touched them" in done.stdout
    study = Path(cluster["FFTUNE_STORAGE"], "studies/thrm-tiny")
    assert (study / "front.json").exists()
    assert (study / "report.html").exists()


@pytest.mark.slow
def test_a_battery_on_all_nets_of_a_study_as_a_job(cluster: dict[str, str]) -> None:
    """After the sweep above: the job finds its cluster by itself."""
    battery = "--battery risks --battery.steps 2 --examples 64 --battery.block-size 16"
    done = submit(cluster, *f"python -m fftune.evaluate thrm-tiny {battery}".split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "thrm-tiny-0\n" in done.stdout and "thrm-tiny-1\n" in done.stdout
    assert done.stdout.count("pgd-2 ") == 4
    rows = sorted(Path(cluster["FFTUNE_STORAGE"], "rows").glob("thrm-tiny-*-risks.parquet"))
    assert len(rows) == 2


@pytest.mark.slow
def test_a_figure_of_a_paper_as_a_job(cluster: dict[str, str]) -> None:
    """Its three tasks are done by the cluster that the job finds by itself."""
    done = submit(cluster, "python", "-m", "fftune.reproduce", "P1.F1", "P1.T15", "P2.F4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray: joining" in done.stdout
    papers = Path(cluster["FFTUNE_STORAGE"], "papers")
    assert len(list(papers.glob("tasks/*/done.json"))) == 3
    assert (papers / "tiny/index.html").exists()


@pytest.mark.slow
def test_a_job_that_is_stopped_goes_on(cluster: dict[str, str]) -> None:
    sweep = "python -m fftune.sweep trades --scale tiny --trials 4 --base.optimizer.epochs 4"
    client = ["--no-wait", "--working-dir", ".", "--", *sweep.split()]
    begun = sh(RAY, "job", "submit", *client, env=cluster)
    job = re.search(r"raysubmit_\w+", begun.stdout)[0]
    trials = Path(cluster["FFTUNE_STORAGE"], "studies/trades-tiny/trials")
    while not list(trials.glob("*/result.json")):
        time.sleep(0.5)
    stopped = sh(RAY, "job", "stop", job, env=cluster)
    assert stopped.returncode == 0, stopped.stdout
    finished = {p: p.read_text() for p in trials.glob("*/result.json")}
    assert 1 <= len(finished) < 4
    done = submit(cluster, *f"{sweep} --resume".split())
    assert done.returncode == 0, done.stdout
    assert len(list(trials.glob("*/result.json"))) == 4
    assert all(path.read_text() == text for path, text in finished.items())


@pytest.mark.slow
def test_two_jobs_at_once_leave_each_other_alone(cluster: dict[str, str]) -> None:
    """One result, whether a study had the cluster for itself or not."""
    storage = Path(cluster["FFTUNE_STORAGE"])
    quick = "--trials 3 --base.optimizer.epochs 2 --battery.steps 2"
    names = ("alone", "first", "second")
    commands = [f"python -m fftune.sweep thrm --name {name} {quick}".split() for name in names]
    with ThreadPoolExecutor() as both:
        assert submit(cluster, *commands[0]).returncode == 0
        done = [both.submit(submit, cluster, *command) for command in commands[1:]]
        assert [run.result().returncode for run in done] == [0, 0]
    fronts = [json.loads((storage / f"studies/{n}/front.json").read_text()) for n in names]
    lams = [sorted(point["lam"] for point in front["points"]) for front in fronts]
    assert len(lams[0]) == 3 and {0.0, 100.0} < set(lams[0])
    for lam in (0.0, 100.0):
        tests = [next(p["test"] for p in front["points"] if p["lam"] == lam) for front in fronts]
        assert tests[0] == tests[1] == tests[2]


@pytest.mark.slow
def test_a_failed_run_is_exit_code_1(cluster: dict[str, str]) -> None:
    wild = "python -m fftune.train standard --name wild --optimizer.lr 1e30"
    done = submit(cluster, *wild.split())
    assert done.returncode == 1
    assert "fftune: loss is" in done.stdout
    job = re.search(r"raysubmit_\w+", done.stdout)
    assert job and job_of(cluster, job[0])["driver_exit_code"] == 1


def test_the_users_mistake_is_exit_code_2(cluster: dict[str, str]) -> None:
    token = token_of(cluster)
    line = f"cd {shlex.quote(str(CHECKOUT))} && python -m fftune.sweep thrn"
    _, begun = asked(cluster, "/api/jobs/", token=token, body={"entrypoint": line})
    assert job_of(cluster, begun["submission_id"])["driver_exit_code"] == 2
    _, log = asked(cluster, f"/api/jobs/{begun['submission_id']}/logs", token=token)
    assert "fftune: recipe 'thrn' does not exist; did you mean 'thrm'" in log["logs"]


def test_nobody_gets_in_without_the_token(cluster: dict[str, str]) -> None:
    wrong = "0" * 64
    for token in (None, wrong):
        status, _ = asked(cluster, "/api/jobs/", token=token, body={"entrypoint": "true"})
        assert status in (401, 403)
    stranger = {name: v for name, v in cluster.items() if not name.startswith("RAY_AUTH")}
    stranger["HOME"] = cluster["FFTUNE_CLUSTER_DIR"]  # Ray looks for a token there too
    stranger["RAY_AUTH_MODE"] = "token"
    joined = sh(sys.executable, "-c", JOIN, cluster["FFTUNE_RAY_PORT"], wrong, "", env=stranger)
    assert joined.stdout.split() == ["2", "2"], joined.stderr
    told = joined.stderr.splitlines()
    assert len(told) == 2 * 2  # it is said first that it joins
    line = "fftune: cluster '127.0.0.1:[0-9]+' rejects the token, or wants one; set .*"
    assert all(re.fullmatch(line, one) for one in told[1::2])


@pytest.mark.parametrize("how", ["Origin", "Host", "Referer"])
def test_a_page_from_elsewhere_is_refused(cluster: dict[str, str], how: str) -> None:
    """Whatever a browser that the owner has open is made to send: it has no token."""
    foreign = {"Origin": "http://evil.example", "Host": "evil.example", "Referer": "http://evil/"}
    job, forms = {"entrypoint": "true"}, ("text/plain", "application/x-www-form-urlencoded")
    for method, path, body, kind in (
        *(("POST", "/api/jobs/", job, kind) for kind in ("application/json", *forms)),
        ("DELETE", "/api/jobs/raysubmit_x", None, "text/plain"),
        ("DELETE", "/api/serve/applications/", None, "text/plain"),
        ("PUT", "/api/serve/applications/", {}, "application/json"),
        *(("GET", path, None, "text/plain") for path in ("/api/version", "/api/jobs/", "/")),
    ):
        request = urllib.request.Request(
            cluster["RAY_API_SERVER_ADDRESS"] + path,
            headers={how: foreign[how], "Content-Type": kind, "User-Agent": "Mozilla/5.0"},
            data=None if body is None else json.dumps(body).encode(),
            method=method,
        )
        status, text = answered(request)
        # The page itself is open, and shows nothing without a token.
        assert status in (401, 403) or (path == "/" and "raysubmit" not in text), (method, path)


def test_the_agents_beside_the_head_want_the_token_too(cluster: dict[str, str]) -> None:
    """They start jobs, and whatever the environment of a job asks for, as the head does."""
    first = int(cluster["FFTUNE_RAY_AGENT_PORT"])
    jobs, environments = f"http://127.0.0.1:{first}/api/job_agent/jobs", first + 3
    tries = [("POST", f"{jobs}/"), ("POST", f"{jobs}/raysubmit_x/stop")]
    tries += [("DELETE", f"{jobs}/raysubmit_x"), ("GET", f"{jobs}/raysubmit_x/logs")]
    tries += [
        ("POST", f"http://127.0.0.1:{environments}/{path}")
        for path in ("get_or_create_runtime_env", "delete_runtime_env_if_possible")
    ]
    for method, address in tries:
        for given in (
            {},
            {"Authorization": f"Bearer {'0' * 64}"},
            {"Origin": "http://evil.example"},
        ):
            data = b'{"entrypoint": "true"}' if method == "POST" else None
            request = urllib.request.Request(address, data, given, method=method)
            assert answered(request)[0] in (401, 403), (method, address)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_no_other_user_gets_at_the_heads_files(cluster: dict[str, str]) -> None:
    """Ray's own folders have mode 777: who can enter replaces the package of the next job."""
    ray = Path(cluster["FFTUNE_CLUSTER_DIR"], "temp").read_text().strip()
    assert (Path(ray) / "session_latest").exists()
    tries = f"cd {ray}; ls {ray}/session_latest/; touch {ray}/x; mv {ray} {ray}.y; cat {ray}/*/*/*"
    ids = {"user": 65534, "group": 65534, "extra_groups": []}
    done = subprocess.run(["sh", "-c", tries], capture_output=True, text=True, cwd="/", **ids)
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 5), done.stderr


def test_the_token_is_private_and_never_printed(cluster: dict[str, str]) -> None:
    state = Path(cluster["FFTUNE_CLUSTER_DIR"])
    token = token_of(cluster)
    assert len(token) == 64
    assert (state / "token").stat().st_mode & 0o777 == 0o600
    assert token not in (state / "log").read_text()
    assert token not in sh(LOCAL, "settings", env=cluster).stdout


def test_every_listener_is_on_loopback(cluster: dict[str, str]) -> None:
    pid = int(Path(cluster["FFTUNE_CLUSTER_DIR"], "pid").read_text())
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    places = {
        ip_address(c.laddr.ip.removeprefix("::ffff:"))
        for process in family
        if process.status() != psutil.STATUS_ZOMBIE
        for c in process.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }
    assert places
    assert all(place.is_loopback for place in places), places


def test_a_second_start_and_a_port_in_use(cluster: dict[str, str], tmp_path: Path) -> None:
    again = sh(LOCAL, "start", env=cluster)
    assert again.returncode == 2
    assert "already running" in again.stderr
    elsewhere = sh(LOCAL, "start", env={**cluster, "FFTUNE_CLUSTER_DIR": str(tmp_path)})
    assert (elsewhere.returncode, elsewhere.stdout) == (2, "")
    assert elsewhere.stderr.startswith(f"local.sh: port {cluster['FFTUNE_RAY_PORT']} is in use")
