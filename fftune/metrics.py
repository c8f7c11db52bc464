"""Metrics of evaluation pools and training runs, exported by Ray to Prometheus.

Ray exports each name with the prefix `ray_`. It may drop its own label of the process, and then
keeps only one of several gauges of a node with equal labels: hence the labels `run` and `process`.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

ATTACKED, TRAINED = ("study", "attack", "goal"), ("study", "run")
COUNTERS = {
    "fftune_examples_total": ("Examples that an attack was run on", ATTACKED),
    "fftune_forwards_total": ("Forward passes of single examples in attacks", ATTACKED),
    "fftune_backwards_total": ("Backward passes of single examples in attacks", ATTACKED),
    "fftune_successes_total": ("Examples on which the attack reached its goal", ATTACKED),
    "fftune_retries_total": ("Blocks that were tried again", ("study", "attack")),
    "fftune_failed_total": ("Blocks that were given up", ("study", "attack")),
    "fftune_train_epochs_total": ("Epochs trained", TRAINED),
    "fftune_train_examples_total": ("Examples trained on", TRAINED),
    "fftune_train_forwards_total": ("Forward passes of single examples in training", TRAINED),
    "fftune_train_backwards_total": ("Backward passes of single examples in training", TRAINED),
}
"""Counters: help text and labels by name."""
GAUGES = {
    "fftune_queue_length": ("Blocks that wait for an actor", ("study",)),
    "fftune_actors": ("Actors of the evaluation pool", ("study",)),
    "fftune_gpu_memory_bytes": ("Peak GPU memory of a process", ("study", "process")),
    "fftune_train_loss": ("The objective's mean over the last epoch", TRAINED),
    "fftune_train_accuracy": ("The last epoch's accuracy on its training batches", TRAINED),
}
"""Gauges: help text and labels by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Metrics of one study; a plain value that travels to any worker.

    In a process that is not connected to Ray nothing is counted, and Ray is not imported.
    """

    study: str
    run: str = ""
    """Name of a training run in the study."""

    def block(
        self,
        *,
        attack: str,
        goal: str,
        examples: int,
        forwards: int,
        backwards: int,
        successes: int,
    ) -> None:
        """Count an attack on a block of examples; the worker that ran it calls this, once."""
        labels = {"attack": attack, "goal": goal}
        self._add("fftune_examples_total", examples, labels)
        self._add("fftune_forwards_total", forwards, labels)
        self._add("fftune_backwards_total", backwards, labels)
        self._add("fftune_successes_total", successes, labels)

    def queue(self, length: int) -> None:
        """Set the number of blocks that wait for an actor."""
        self._set("fftune_queue_length", length, {})

    def actors(self, count: int) -> None:
        """Set the number of actors in the pool."""
        self._set("fftune_actors", count, {})

    def retry(self, attack: str) -> None:
        """Count a block that is tried again."""
        self._add("fftune_retries_total", 1, {"attack": attack})

    def failed(self, attack: str) -> None:
        """Count a block that is given up."""
        self._add("fftune_failed_total", 1, {"attack": attack})

    def gpu_memory(self, peak: int) -> None:
        """Set the peak of GPU memory of this process, in bytes."""
        self._set("fftune_gpu_memory_bytes", peak, {"process": str(os.getpid())})

    def epoch(
        self, *, examples: int, forwards: int, backwards: int, loss: float, accuracy: float
    ) -> None:
        """Count an epoch, summed over the processes of a run; rank 0 calls this."""
        labels = {"run": self.run}
        self._add("fftune_train_epochs_total", 1, labels)
        self._add("fftune_train_examples_total", examples, labels)
        self._add("fftune_train_forwards_total", forwards, labels)
        self._add("fftune_train_backwards_total", backwards, labels)
        self._set("fftune_train_loss", loss, labels)
        self._set("fftune_train_accuracy", accuracy, labels)

    def _add(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        if value and _connected():  # Ray refuses to add nothing
            _instrument(name).inc(value, {"study": self.study, **labels})

    def _set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        if _connected():
            _instrument(name).set(value, {"study": self.study, **labels})


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


@cache
def _instrument(name: str) -> Any:
    from ray.util.metrics import Counter, Gauge

    kind, known = (Counter, COUNTERS) if name in COUNTERS else (Gauge, GAUGES)
    text, labels = known[name]
    return kind(name, description=text, tag_keys=labels)
