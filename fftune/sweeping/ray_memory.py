"""Shares of the cards of a cluster: measured by a task that has one of them for itself."""

import logging
from dataclasses import replace

from fftune.ray_cluster import (  # before Ray, whose start it sets
    Driver,
    capacity,
    enter_driver,
    max_concurrent,
    trials_per_gpu,
)

# isort: split
import ray

from fftune.config import Resources
from fftune.data.catalog import opened_once
from fftune.errors import FftuneError
from fftune.sweeping.card_share import CardShare, MemoryUse, share_of
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_kind import kind_of

log = logging.getLogger(__name__)


def with_share(study: StudyDir, resources: Resources) -> Resources:
    """Replace `auto` by the share of a card that a trial gets on the connected cluster.

    Raises:
        ClusterError: the study wants CUDA, and the cluster has no GPU.
        OutOfMemoryError: a whole card is too small for a trial.
    """
    if resources.gpus != "auto":
        return resources
    share = _chosen(study)
    share.keep(study)
    return replace(resources, gpus=share.gpus)


def _chosen(study: StudyDir) -> CardShare:
    config, kind = study.config, kind_of(study.config)
    base, threads = config.base, config.base.threads
    device = getattr(base, "device", "auto")
    if device == "cuda":
        max_concurrent("a trial on cuda", {"CPU": threads, "GPU": 1})
    if device == "cpu" or not capacity({"CPU": threads, "GPU": 1}):
        why = "trials are to run on CPUs" if device == "cpu" else "the cluster has no card"
        return CardShare(gpus=0.0, reason=f"{why}: no trial takes a GPU")
    if base.workers > 1:
        # Two workers of one training on one card are what NCCL refuses.
        return CardShare(gpus=1.0, reason="each of a trial's workers has a card for itself")
    if kind.memory is None:
        return CardShare(gpus=1.0, reason="a trial has a card for itself: nothing measures it")
    log.info("measuring the memory of a trial")
    task = ray.remote(num_gpus=1, num_cpus=threads, max_calls=1)(_measured)
    try:
        use: MemoryUse = ray.get(task.remote(study, Driver.here()))
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, FftuneError):
            raise error.cause from None
        raise
    return share_of(use, places=trials_per_gpu(threads))


def _measured(study: StudyDir, driver: Driver) -> MemoryUse:
    """Measure in a worker, which ends afterwards and gives its memory back."""
    enter_driver(driver)
    memory = kind_of(study.config).memory
    assert memory is not None
    with opened_once():
        found: MemoryUse = memory(study.config)
    return found
