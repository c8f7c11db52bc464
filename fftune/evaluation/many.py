"""Several nets under one battery, here or on a cluster."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    Device,
    ModelSpec,
    Resources,
    Split,
    ThreatModel,
)
from fftune.errors import ConfigError, FftuneError
from fftune.evaluation.afterwards import remarked
from fftune.evaluation.block_cache import Cache, identity
from fftune.evaluation.evaluate import evaluate, job_of, precision_of, sampled, try_out
from fftune.evaluation.job import under_test
from fftune.evaluation.question import question_of
from fftune.evaluation.scheduler import EvalResult
from fftune.models import load_model
from fftune.progress import Progress


def examine(
    nets: Mapping[str, ModelSpec],
    data: DataSpec,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split,
    defense: DefenseConfig | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    root: Path | None = None,
) -> dict[str, EvalResult]:
    """`evaluate` for each of several nets; where one cannot be examined, the others are.

    Args:
        nets: by names of the caller's.
        backend: "ray" puts every block of every net on one pool of actors. Rows are equal.
        root: keep every block there, and take from there what was done before.

    Raises:
        ClusterError: the cluster cannot be reached, or can never hold one actor.
        ConfigError: CUDA is asked for, and no actor has a GPU.
    """
    if backend == "inline":
        results = {}
        several = Progress("evaluation", unit="nets", total=len(nets), fractions=True)
        with several if len(nets) > 1 else nullcontext():
            for at, (name, spec) in enumerate(nets.items(), 1):
                results[name] = _inline(name, spec, data, battery, threat, split, defense, root)
                several.update(at)
        return results
    resources = resources or Resources()
    device = _device(battery.device, resources.gpus)
    dataset, available = sampled(data, split, battery.examples)
    results, examinations, questions = {}, {}, {}
    from fftune.evaluation.ray_pool import Pool, PooledJob
    from fftune.ray_cluster import cluster  # importing Ray takes seconds

    for name, spec in nets.items():
        try:
            net = load_model(spec)
            job = job_of(net, dataset, battery, threat=threat, defense=defense)
            with under_test(net, job.on("cpu")) as subject:
                remarks, code = try_out(subject, job), identity(spec, subject, dataset)
        except FftuneError as error:
            results[name] = EvalResult(error=error)
            continue
        questions[name] = question_of(
            job,
            net=name,
            code=code,
            threat=threat,
            available=available,
            device=device,
            precision=battery.precision if device == "cuda" else precision_of(subject),
            remarks=remarks,
        )
        cache = Cache(root, job, code, device) if root else None
        examinations[name] = PooledJob(spec=spec, job=job.on(device), cache=cache, remarks=remarks)
    with cluster(resources):
        needs = {"CPU": battery.threads, "GPU": resources.gpus}
        with Pool(needs, most=resources.concurrency, study=f"evaluate-{battery.name}") as pool:
            found = pool.run(tuple(examinations.values()))
    for name, result in zip(examinations, found, strict=True):
        if result.outcomes is not None:
            question = questions[name]
            lines = remarked(result.outcomes, question.remarks)
            result.outcomes = result.outcomes.answering(replace(question, remarks=lines).plain)
        results[name] = result
    return {name: results[name] for name in nets}


def _inline(
    name: str,
    spec: ModelSpec,
    data: DataSpec,
    battery: BatteryConfig,
    threat: ThreatModel,
    split: Split,
    defense: DefenseConfig | None,
    root: Path | None,
) -> EvalResult:
    try:
        outcomes = evaluate(
            *(spec, data, battery),
            threat=threat,
            split=split,
            defense=defense,
            root=root,
            name=name,
        )
    except FftuneError as error:
        return EvalResult(error=error)
    return EvalResult(outcomes=outcomes)


def _device(wanted: Device, gpus: float) -> Device:
    """What an actor computes on: the driver's own devices say nothing about it.

    Raises:
        ConfigError: CUDA without a GPU.
    """
    if wanted == "cuda" and not gpus:
        raise ConfigError("gpus must be > 0 for device 'cuda' on Ray, got 0")
    if wanted == "auto":
        return "cuda" if gpus else "cpu"
    return wanted
