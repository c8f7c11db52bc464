"""Overhead and speed-up of the actor pool: one loop against one actor and two.

    python benchmarks/pool.py --models MODELS [--rounds 5] [--seconds 60]

Each round does the same tasks in turn by a loop in this process, by a pool of one actor and by a
pool of two, one thread each. The start of the actors is not part of it and is printed.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch

from fftune.config import BatteryConfig, DataSpec, ModelSpec, Resources, ThreatModel
from fftune.data.subset import sample
from fftune.evaluation.job import EvalJob, under_test
from fftune.evaluation.question import question_of
from fftune.evaluation.ray_pool import Pool
from fftune.evaluation.scheduler import JobState, PreparedJob, run_inline
from fftune.models import load_model, weights_hash
from fftune.outcomes import Outcomes
from fftune.ray_cluster import cluster

NEEDS = {"CPU": 1, "GPU": 0}


def main() -> None:
    """Print a line a round, then the medians."""
    arguments = _arguments()
    torch.set_num_threads(1)
    spec = ModelSpec(factory=f"{arguments.models}/architectures.py:load:fastat_small")
    job, alone = _sized(spec, arguments.seconds)
    print(f"{len(job.dataset)} images, blocks of {job.battery.block_size}, {alone:.0f} s alone")
    ratios: dict[int, list[float]] = {1: [], 2: []}
    warm = _job(spec, replace(job.battery, examples=32))
    with cluster(Resources(address="local")):
        for number in range(arguments.rounds):
            alone, rows = _loop(spec, job)
            for actors, found in ratios.items():
                start, seconds, same = _pool(spec, job, warm, actors)
                assert same.table.equals(rows.table)
                found.append(seconds / alone)
                print(
                    f"round {number + 1}: loop {alone:.1f} s; {actors} actors {seconds:.1f} s "
                    f"after {start:.1f} s of starting",
                    flush=True,
                )
    one, two = (statistics.median(found) for found in ratios.values())
    print(f"median of {arguments.rounds}: one actor {one:.3f} of the loop's time (at most 1.05)")
    print(f"two actors {1 / two:.2f} times as fast as the loop (at least 1.7)")


def _sized(spec: ModelSpec, seconds: float) -> tuple[EvalJob, float]:
    """Choose as many images as the loop attacks in about so many seconds, measured on a few."""
    battery = BatteryConfig(name="hypocritical", tier="screen", examples=32, block_size=16)
    took, _ = _loop(spec, _job(spec, battery))
    blocks = max(4, round(1.15 * seconds / took * 2))
    job = _job(spec, replace(battery, examples=16 * blocks))
    return job, took * blocks / 2


def _job(spec: ModelSpec, battery: BatteryConfig) -> EvalJob:
    dataset = sample(DataSpec(name="cifar10"), "test", battery.examples)
    net = load_model(spec)
    job = EvalJob.of(dataset, battery, model_hash=weights_hash(net), threat=ThreatModel())
    return job.on("cpu")


def _prepared(spec: ModelSpec, job: EvalJob) -> PreparedJob:
    question = question_of(
        job,
        net="net",
        code="",
        threat=ThreatModel(),
        available=None,
        device="cpu",
        precision="auto",
    )
    return PreparedJob(spec=spec, job=job, question=question)


def _loop(spec: ModelSpec, job: EvalJob) -> tuple[float, Outcomes]:
    began = time.perf_counter()
    with under_test(load_model(spec), job) as subject:
        result = run_inline(subject, job, JobState.of(_prepared(spec, job)))
    return time.perf_counter() - began, result.complete()


def _pool(
    spec: ModelSpec, job: EvalJob, warm: EvalJob, actors: int
) -> tuple[float, float, Outcomes]:
    with Pool(NEEDS, most=actors, study="benchmark") as pool:
        start = pool.start(actors)
        pool.run([_prepared(spec, warm)])  # as the loop was by the first measurement
        began = time.perf_counter()
        (result,) = pool.run([_prepared(spec, job)])
        seconds = time.perf_counter() - began
    assert result.outcomes is not None and not result.lost
    return start, seconds, result.outcomes


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True, help="folder of architectures.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="of the loop's work")
    return parser.parse_args()


if __name__ == "__main__":
    main()
