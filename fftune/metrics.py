"""The door to Ray's metrics: what pools and trainers count for Prometheus, and dashboards show.

Ray exports each name with the prefix `ray_`. It may drop the label of the process, and of gauges of
one node that then have equal labels it keeps one: hence `run` and `process`.
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
"""What only grows: its help text and its labels."""
GAUGES = {
    "fftune_queue_length": ("Blocks that wait for an actor", ("study",)),
    "fftune_actors": ("Actors of the evaluation pool", ("study",)),
    "fftune_gpu_memory_bytes": ("Peak GPU memory of a process", ("study", "process")),
    "fftune_train_loss": ("The objective's mean over the last epoch", TRAINED),
    "fftune_train_accuracy": ("The last epoch's accuracy on its training batches", TRAINED),
}
"""What goes up and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Tells Ray what happens in one study; a plain value that travels to any worker.

    Where the process is not connected to Ray, nothing is counted and Ray is not imported.
    """

    study: str
    run: str = ""
    """Which training of the study."""

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
        """An attack on a block of examples is done: whoever ran it calls this, once."""
        labels = {"attack": attack, "goal": goal}
        self._add("fftune_examples_total", examples, labels)
        self._add("fftune_forwards_total", forwards, labels)
        self._add("fftune_backwards_total", backwards, labels)
        self._add("fftune_successes_total", successes, labels)

    def queue(self, length: int) -> None:
        """So many blocks wait for an actor."""
        self._set("fftune_queue_length", length, {})

    def actors(self, count: int) -> None:
        """So many actors are in the pool."""
        self._set("fftune_actors", count, {})

    def retry(self, attack: str) -> None:
        """A block is tried again."""
        self._add("fftune_retries_total", 1, {"attack": attack})

    def failed(self, attack: str) -> None:
        """A block is given up."""
        self._add("fftune_failed_total", 1, {"attack": attack})

    def gpu_memory(self, peak: int) -> None:
        """The most bytes that this process has held on its GPU."""
        self._set("fftune_gpu_memory_bytes", peak, {"process": str(os.getpid())})

    def epoch(
        self, *, examples: int, forwards: int, backwards: int, loss: float, accuracy: float
    ) -> None:
        """An epoch is trained, by all processes of a run: the leading one calls this."""
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
