"""An actor of an evaluation's pool: what it is sent, does and returns."""

import io
import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from fftune.ray_cluster import Driver, enter_driver, require_run_dir

# isort: split
import ray

from fftune.config import ModelSpec
from fftune.errors import ModelError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.job import BlockTask, EvalJob, forget_recordings, model_under_test
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.perform import perform
from fftune.evaluation.saved_images import INDEX, ImageFolder, Rows
from fftune.metrics import Metrics
from fftune.models import torch_threads, weights_hash
from fftune.models.loading import loaded
from fftune.user_code import answering

SUBJECTS = 4
"""Nets that an actor keeps in memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JobPayload:
    """A job in Ray's object store; a node receives it once."""

    spec: ModelSpec
    weights: bytes
    job: EvalJob
    """Without pixels, which the jobs of all nets share."""
    pixels: "ray.ObjectRef[NDArray[np.uint8]]"
    images: Path | None
    """Folder for perturbed images, which all nodes share."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Done:
    """Answer of an actor to a task."""

    table: pa.Table
    seconds: float
    """Time that the rows took."""
    searches: list[tuple[Attack, int, int, int, float]]
    """Arguments of `RunningAccuracy.stage`, of each search of an ensemble."""
    images: Rows
    """Rows of the index of perturbed images, which are written already."""


class Worker:
    """An actor, which runs any task of any job."""

    def __init__(self, metrics: Metrics, driver: Driver) -> None:
        enter_driver(driver)
        self._metrics = metrics
        self._opened: dict[bytes, tuple[EvalJob, ModelUnderTest, ImageFolder | None]] = {}

    def node(self) -> str:
        """Id of its node; the answer is also the sign that it has started."""
        return ray.get_runtime_context().get_node_id()

    def perform(self, payload: "list[ray.ObjectRef[JobPayload]]", task: BlockTask) -> Done:
        """Run a task.

        Args:
            payload: a list of one reference, since Ray would unpack a bare one at every call.
        """
        searches: list[tuple[Attack, int, int, int, float]] = []
        images: dict[tuple[str, int], list[object]] = {}
        with answering():
            job, subject, folder = self._open(payload[0])
            subject = replace(subject, running=lambda *search: searches.append(search))
            if folder is not None:
                write = partial(folder.write, tuple(job.dataset.source.classes))
                subject = replace(subject, keep=lambda *found: images.update(write(*found)))
            began = time.perf_counter()
            with torch_threads(job.battery.threads):
                table = perform(subject, job, task)
        if subject.device == "cuda":
            self._metrics.gpu_memory(torch.cuda.max_memory_allocated())
        seconds = time.perf_counter() - began
        return Done(table=table, seconds=seconds, searches=searches, images=images)

    def _open(
        self, reference: "ray.ObjectRef[JobPayload]"
    ) -> tuple[EvalJob, ModelUnderTest, ImageFolder | None]:
        key = reference.binary()
        if key not in self._opened:
            if len(self._opened) >= SUBJECTS:
                _, dropped, _ = self._opened.pop(next(iter(self._opened)))
                forget_recordings(dropped)
            payload = ray.get(reference)
            with warnings.catch_warnings():  # of an array that must not be written, nor is
                warnings.simplefilter("ignore")
                pixels = torch.from_numpy(ray.get(payload.pixels))
            job = replace(payload.job, dataset=replace(payload.job.dataset, pixels=pixels))
            folder = None
            if payload.images is not None:
                require_run_dir(payload.images, INDEX)
                folder = ImageFolder(folder=payload.images)
            self._opened[key] = job, model_under_test(_net(payload), job), folder
        return self._opened[key]


def _net(payload: JobPayload) -> nn.Module:
    """Build the net of a job, whose weights come with it and not from a file.

    Raises:
        ModelError: it cannot be built here, or has other weights than on the driver.
    """
    node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    try:
        net = loaded(payload.spec, bare=True).net
    except ModelError as error:
        raise ModelError(f"{error}, on node {node}") from None
    net.load_state_dict(torch.load(io.BytesIO(payload.weights), weights_only=True))
    found, expected = weights_hash(net), payload.job.model_hash
    if found != expected:
        raise ModelError(
            f"model {payload.spec.factory!r} built on node {node} has different weights than on "
            f"the driver (hash {found} != {expected})"
        )
    return net.requires_grad_(False)
