"""What a task of the pool, a trial and a page cost as there are more of them: flat, or not?

    python benchmarks/load.py [--parts pool trials report] [--tasks 100 1000 10000] [--trials 500]

Nothing is trained or attacked at length, so that what is left is the driver's own work. CPU-seconds
are the driver's, user + system; MiB what it holds (VmRSS) after the garbage was collected.
"""

import argparse
import ctypes
import gc
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from threading import Thread
from unittest import mock

import pyarrow as pa
import torch
from arguments import whole

from fftune import recipes
from fftune.config import (
    BatteryConfig,
    DataSpec,
    ModelSpec,
    Resources,
    SweepConfig,
    ThreatModel,
)
from fftune.data import load
from fftune.report.publish import publish
from fftune.risk import RiskCounts
from fftune.sweeping import trial_runner
from fftune.sweeping.study_kind import SeedRun, kind_of
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_results import SeedResult

PARTS = ("pool", "trials", "report")
NET = """
import torch

def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
"""
BLOCK = 2
"""Images of a task; each block is attacked for both goals."""
WINDOW = 15
"""Trials before and after one, over which the median is taken."""
SHOWN = """<script>
setInterval(() => {
  const drawn = (figure) => figure.querySelector(".main-svg");
  const figures = [...document.querySelectorAll(".plotly-graph-div")];
  if (document.readyState != "complete" || !figures.every(drawn) || window.told) return;
  window.told = fetch("/shown?" + Math.round(performance.now()));
}, 10);
</script>"""
"""Script that tells the server when the page and all its figures are drawn."""


def main() -> None:
    """Measure the parts, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--tasks", nargs="+", type=whole, default=[100, 1000, 10_000])
    parser.add_argument("--trials", type=whole, default=500)
    parser.add_argument("--strategies", nargs="+", default=["random", "gap"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fftune-load-") as folder:
        root = Path(folder)
        if "pool" in options.parts:
            pool(options.tasks, root)
        for strategy in options.strategies if {"trials", "report"} & {*options.parts} else ():
            trials(study(strategy, options.trials), root)
        if "report" in options.parts:
            report(study(options.strategies[0], options.trials), root)


def pool(sizes: Sequence[int], root: Path) -> None:
    """Evaluations of ever more tasks by one actor."""
    from fftune.evaluation.job import EvalJob
    from fftune.evaluation.question import question_of
    from fftune.evaluation.ray_pool import Pool
    from fftune.evaluation.scheduler import PreparedJob
    from fftune.models import load_model, weights_hash
    from fftune.ray_cluster import cluster

    (root / "net.py").write_text(NET)
    spec, threat = ModelSpec(factory=f"{root / 'net.py'}:net"), ThreatModel(eps=0.1)
    hash_ = weights_hash(load_model(spec))

    def prepared(tasks: int) -> PreparedJob:
        images = max(tasks // 2 * BLOCK, 10)
        name = f"synthetic:shape=1x4x4,classes=2,train=10,test={images},seed=1"
        dataset = load(DataSpec(name=name, train_size=10, validation_size=0), "test")
        battery = BatteryConfig(name="risks", steps=1, block_size=BLOCK)
        job = EvalJob.of(dataset, battery, model_hash=hash_, threat=threat).on("cpu")
        question = question_of(
            job, net="net", code="", threat=threat, available=None, device="cpu", precision="auto"
        )
        return PreparedJob(spec=spec, job=job, question=question)

    print("tasks   driver, CPU-ms a task   wall ms a task   MiB before   MiB with all rows   after")
    with cluster(Resources(address="local")), Pool({"CPU": 1, "GPU": 0}, most=1, study="l") as one:
        one.run([prepared(100)])
        for size in sizes:
            job, before = prepared(size), held()
            cpu, wall = time.process_time(), time.perf_counter()
            (result,) = one.run([job])
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            assert result.outcomes is not None and not result.lost
            during = held()
            del result, job
            each = f"{1e3 * cpu / size:22.2f}   {1e3 * wall / size:14.2f}"
            print(
                f"{size:5d}  {each}   {before:10.1f}   {during:17.1f}   {held():5.1f}", flush=True
            )


def study(strategy: str, trials: int) -> SweepConfig:
    """A study of THRM, as at scale `tiny`."""
    config = recipes.thrm("tiny")
    return replace(config, name=f"load-{strategy}", trials=trials, strategy=strategy)


def trials(config: SweepConfig, root: Path) -> None:
    """A study whose nets cost nothing: journal, MLflow, records, search and front remain."""
    cpu: list[float] = []
    mib: list[float] = []

    def measure(run: SeedRun) -> SeedResult:
        cpu.append(time.process_time())
        if len(cpu) % 50 == 0:
            mib.append(held())
        lam = run.config.lam
        wrong = round(1000 * (0.05 + 0.3 * lam / (lam + 10)))
        concealed = round(wrong * (0.2 + 0.7 / (1 + lam)))
        counts = RiskCounts(total=1000, wrong=wrong, fooled=100, concealed=concealed)
        run.tracked.metrics({f"m{i}": float(i) for i in range(20)})
        return SeedResult(
            trial=run.trial, lam=lam, settings=run.settings, seed=run.config.seed,
            model_hash=f"{run.trial:016x}", validation=counts, test=counts, train_seconds=0.0,
            evaluate_seconds=0.0,
        )  # fmt: skip

    free = replace(kind_of(config), measure=measure)
    with mock.patch.object(trial_runner, "kind_of", return_value=free):
        began = time.process_time()
        sweep(config, root=root, backend="inline")
        whole_study = time.process_time() - began
    cost = [b - a for a, b in pairwise(cpu)]
    print(f"\n{config.name}: {config.trials} trials, {whole_study:.1f} CPU-s in all")
    print("trial   driver, CPU-ms a trial   MiB")
    for at in sorted({10, 50, 100, 200, 300, 400, config.trials - WINDOW}):
        if at + WINDOW <= config.trials:
            near = cost[max(0, at - WINDOW) : at + WINDOW]
            memory = f"{mib[at // 50 - 1]:.1f}" if at >= 50 else ""
            print(f"{at:5d}   {1e3 * median(near):22.1f}   {memory}")


def report(config: SweepConfig, root: Path) -> None:
    """The pages of a study, and how long a browser takes to show them."""
    began = time.process_time()
    publish([config.name], root)
    again = time.process_time()
    publish([config.name], root)
    print(f"\nreport: {again - began:.1f} CPU-s, again {time.process_time() - again:.1f}")
    for name in ("report.html", "search.html"):
        page = root / "studies" / config.name / name
        print(f"{name}: {page.stat().st_size / 1e6:.2f} MB; {shown(page)}")


def shown(page: Path) -> str:
    """Time a browser takes to draw a page, in words."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), "")
    if not browser:
        return "no Chromium here"
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{SHOWN}", 1).encode()
    told = SimpleQueue[str]()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text if self.path == "/" else b"")
            if self.path.startswith("/shown"):
                told.put(self.path.partition("?")[2])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
    flags += ["--disable-background-networking", f"--user-data-dir={page.parent / 'profile'}"]
    flags += ["--no-sandbox"] if os.getuid() == 0 else []
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [browser, *flags, f"http://127.0.0.1:{server.server_port}/"], stderr=subprocess.DEVNULL
    )
    milliseconds = told.get()
    process.terminate()
    process.wait()
    server.shutdown()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"drawn after {milliseconds} ms; browser {spent:.1f} CPU-s, its start included"


def held() -> float:
    """MiB that this process holds."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
