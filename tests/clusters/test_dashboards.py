"""Every panel of the dashboard, against what Ray's head really exports to a real Prometheus."""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fftune.metrics import COUNTERS, GAUGES
from tests.clusters.files import CHECKOUT
from tests.integration.test_jobs import cluster, settings
from tests.patience import free_ports

__all__ = ["cluster", "settings"]

CONFIG = CHECKOUT / "dashboards/prometheus.yml"
DASHBOARD = json.loads((CHECKOUT / "dashboards/grafana/fftune.json").read_text())
PANELS = [(p["title"], t["expr"]) for p in DASHBOARD["panels"] for t in p["targets"]]
VARIABLES = {"$study": ".*", "$__rate_interval": "1m"}
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="prometheus is not installed (Debian's package 'prometheus')",
)


def filled(expression: str) -> str:
    """As Grafana sends it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def test_the_dashboard_shows_what_is_counted() -> None:
    shown = {name for _, e in PANELS for name in re.findall(r"\bray_(fftune_\w+)", e)}
    assert shown == COUNTERS.keys() | GAUGES.keys()


@pytest.mark.parametrize(("title", "expression"), PANELS)
def test_a_panel_groups_by_labels_that_there_are(title: str, expression: str) -> None:
    groups = re.findall(r"(?:sum|max) by \(([^)]*)\) \((?:rate\()?ray_(fftune_\w+)", expression)
    for labels, name in groups:
        assert set(labels.split(", ")) <= set((COUNTERS | GAUGES)[name][1])
    rated = re.findall(r"rate\(ray_(\w+)", expression)
    assert set(rated) <= COUNTERS.keys()  # the rate of a gauge is nonsense
    assert groups or "ray_node_" in expression


def test_panels_have_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({p["id"] for p in panels}) == len(panels)
    assert len({(p["gridPos"]["x"], p["gridPos"]["y"]) for p in panels}) == len(panels)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)
    assert all(target["legendFormat"] for p in panels for target in p["targets"])


@needs_prometheus
def test_prometheus_can_parse_all_of_it(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{i}", "expr": filled(e)} for i, (_, e) in enumerate(PANELS)]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    for kind, file in (("rules", path), ("config", CONFIG)):
        command = ["promtool", "check", kind, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# A driver and two actors, as an evaluation pool and a trainer are.
FEED = """
import time
from fftune.ray_cluster import cluster
from fftune.config import Resources
from fftune.metrics import Metrics
import ray

metrics = Metrics(study="thrm-tiny", run="trials/3")

@ray.remote(num_cpus=0)
class Actor:
    def attack(self, successes):
        metrics.block(attack="apgd", goal="hypocritical", examples=8, forwards=100, backwards=50,
                      successes=successes)
        metrics.gpu_memory(2**30)

with cluster(Resources(address="auto")):
    actors = [Actor.remote() for _ in range(2)]
    ray.get([actor.attack.remote(n) for n, actor in enumerate(actors, start=2)])
    metrics.queue(3), metrics.actors(2), metrics.retry("apgd"), metrics.failed("apgd")
    for loss in (0.7, 0.5):
        metrics.epoch(examples=10, forwards=30, backwards=20, loss=loss, accuracy=0.25)
    print("told", flush=True)
    time.sleep(240)
"""


@pytest.fixture(scope="module")
def prometheus(cluster: dict[str, str], tmp_path_factory: Any) -> Iterator[str]:
    """The address of one that scrapes the head, to which a job tells things."""
    root = tmp_path_factory.mktemp("prometheus")
    temp = Path(cluster["FFTUNE_CLUSTER_DIR"], "temp").read_text().strip()
    config = CONFIG.read_text().replace("/tmp/ray/", f"{temp}/").replace("10s", "1s")
    (root / "prometheus.yml").write_text(config)
    (port,) = free_ports(1)
    command = [
        *("prometheus", f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/db"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    (root / "feed.py").write_text(FEED)
    env = {**cluster, "RAY_ADDRESS": f"127.0.0.1:{cluster['FFTUNE_RAY_PORT']}"}
    env["PYTHONPATH"] = str(CHECKOUT)
    with (root / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        feed = subprocess.Popen([sys.executable, root / "feed.py"], env=env, stdout=log, stderr=log)
        try:
            wait_for(lambda: "told" in (root / "log").read_text(), feed)
            yield f"http://127.0.0.1:{port}"
        finally:
            for process in (feed, server):
                process.terminate()
                process.wait(30)


def wait_for(happened: Any, process: subprocess.Popen[bytes]) -> None:
    while not happened():
        assert process.poll() is None
        time.sleep(0.5)


def ask(prometheus: str, expression: str) -> list[dict[str, Any]]:
    """The series that there are now, waiting a little for the first ones."""
    query = urllib.parse.urlencode({"query": expression})
    until = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        if found or time.monotonic() > until:
            return found
        time.sleep(1)


@needs_prometheus
@pytest.mark.slow  # half a minute: a head, a job, and the time until it is scraped
@pytest.mark.xdist_group("ray")
def test_every_panel_has_something_to_show(prometheus: str) -> None:
    empty = [title for title, expression in PANELS if not ask(prometheus, filled(expression))]
    assert empty == []


@needs_prometheus
@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_it_is_what_was_told(prometheus: str) -> None:
    def value(expression: str) -> float:
        (one,) = ask(prometheus, expression)
        return float(one["value"][1])

    study = '{study="thrm-tiny"}'
    both = {**ask(prometheus, f"sum by (attack, goal) (ray_fftune_examples_total{study})")[0]}
    assert both["metric"] == {"attack": "apgd", "goal": "hypocritical"}
    assert value(f"sum(ray_fftune_examples_total{study})") == 16
    assert value(f"sum(ray_fftune_forwards_total{study})") == 200
    assert value(f"sum(ray_fftune_backwards_total{study})") == 100
    share = next(e for title, e in PANELS if title.startswith("Share"))
    assert value(filled(share)) == 5 / 16
    assert value(f"ray_fftune_queue_length{study}") == 3
    assert value(f"ray_fftune_actors{study}") == 2
    assert value(f"sum(ray_fftune_gpu_memory_bytes{study})") == 2**31  # one of each actor
    assert value(f"ray_fftune_train_epochs_total{study}") == 2
    assert value('ray_fftune_train_loss{run="trials/3"}') == 0.5
    assert value(f"ray_fftune_train_forwards_total{study}") == 60
