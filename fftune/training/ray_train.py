"""The door to Ray Train: one net trained by several processes, on one machine or on many."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fftune.ray_cluster import (  # before Ray, whose start it sets
    Driver,
    enter_driver,
    max_concurrent,
    require_run_dir,
)

# isort: split
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from fftune.config import TrainConfig
from fftune.errors import ClusterError, FftuneError
from fftune.metrics import Metrics
from fftune.training.checkpoint import Checkpoint
from fftune.training.cost import count_epoch
from fftune.training.distributed import ProcessGroup
from fftune.training.history import EpochRecord
from fftune.training.last_words import FAILED, leave, left
from fftune.training.run_dir import RunDir
from fftune.training.train import train

log = logging.getLogger(__name__)
FAILURES = 3
"""Number of times that dead workers are replaced before the run is given up."""
LOG, REPEAT_SECONDS = "train.log", 1.0


def train_on_ray(
    config: TrainConfig,
    *,
    folder: Path,
    metrics: Metrics,
    states: Path | None = None,
    gpus: float = 0.0,
    on_history: Callable[[Sequence[EpochRecord]], None] = lambda _history: None,
    save_seconds: float = 120.0,
) -> Checkpoint:
    """Train one net on `config.workers` processes of the cluster that is connected.

    Dead workers are replaced, and the run goes on from its newest state.

    Args:
        folder, states: as in `train`; all workers must see them.
        metrics: where the leading worker counts epochs.
        gpus: of one worker.
        on_history: called with all epochs, once, at the end.

    Raises:
        ClusterError: the cluster can never hold the workers.
        FftuneError: training failed, which the message explains.
    """
    least = config.min_workers or config.workers
    per_worker = {"CPU": float(config.threads), "GPU": gpus}
    max_concurrent("training", per_worker, least)
    workers = (least, config.workers) if least < config.workers else config.workers
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "config": config,
            "folder": folder,
            "metrics": metrics,
            "states": states,
            "save_seconds": save_seconds,
            "driver": Driver.here(),
        },
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,  # type: ignore[arg-type]  # V2 takes a range, too
            use_gpu=gpus > 0,
            resources_per_worker={name: each for name, each in per_worker.items() if each},
        ),
        run_config=RunConfig(
            name="ray-train",
            storage_path=str(folder),
            failure_config=FailureConfig(max_failures=FAILURES),
        ),
    )
    (folder / FAILED).unlink(missing_ok=True)
    try:
        with _repeated(folder / LOG):
            trainer.fit()
    except ray.train.TrainingFailedError as error:
        raise left(folder) or _last_words(error) from None
    if failure := left(folder):
        raise failure
    checkpoint = RunDir(folder).finished()
    assert checkpoint is not None  # the leading worker has written it
    on_history(checkpoint.history)
    return checkpoint


def _last_words(error: ray.train.TrainingFailedError) -> FftuneError:
    """The reason why Ray gave the run up: a worker's own error, or the last line of Ray's."""
    failures = getattr(error, "worker_failures", {}).values()
    for failure in failures:
        if isinstance(failure, FftuneError):
            return failure
    reason = str(error).strip().splitlines()[-1]
    died = all(isinstance(failure, RayError | OSError | MemoryError) for failure in failures)
    kind = ClusterError if died else FftuneError
    return kind(f"workers died more than {FAILURES} times; the last: {reason}")


@contextmanager
def _repeated(path: Path) -> Iterator[None]:
    """Log here what the leading worker logs to a file: Ray's own way brings all of Ray's noise."""
    over = threading.Event()

    def repeat() -> None:
        seen = path.stat().st_size if path.exists() else 0
        last = False
        while not last:
            last = over.wait(REPEAT_SECONDS)
            text = path.read_bytes()[seen:] if path.exists() else b""
            whole = text[: text.rfind(b"\n") + 1]
            seen += len(whole)
            for line in whole.decode().splitlines():
                log.info(line)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _worker(settings: dict[str, Any]) -> None:
    """Train, as one of the processes; Ray has set torch.distributed up."""
    arguments, folder = dict(settings), settings["folder"]
    metrics, config = arguments.pop("metrics"), settings["config"]
    enter_driver(arguments.pop("driver"))
    require_run_dir(folder)
    # One answer for all, or some would train and wait for the others for ever.
    if ProcessGroup.current().leaders((folder / FAILED).exists()):
        return  # this attempt would end like the one before
    if ProcessGroup.current().leads:
        ours = logging.getLogger("fftune")
        ours.setLevel(logging.INFO)
        ours.addHandler(logging.FileHandler(folder / LOG))
    try:
        train(**arguments, on_epoch=lambda epoch, _: count_epoch(metrics, epoch, config))
    except FftuneError as error:
        leave(error, folder)
        raise  # Ray ends the other processes, which wait for this one, and starts all once more
