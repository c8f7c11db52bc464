"""The door to Ray Train: one net trained by several processes, on one machine or on many."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fftune.cluster import fits, stand_in  # before Ray, whose start it sets

# isort: split
import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from fftune import errors
from fftune.config import TrainConfig
from fftune.errors import FftuneError
from fftune.metrics import Metrics
from fftune.storage import write_text
from fftune.train.checkpoint import Checkpoint
from fftune.train.epoch import Epoch
from fftune.train.folder import RunFolder
from fftune.train.group import Group
from fftune.train.loop import train
from fftune.train.record import count_epoch

log = logging.getLogger(__name__)
FAILURES = 3
"""Times that dead workers are replaced before the run is given up."""
LOG, REPEAT_SECONDS = "train.log", 1.0
FAILED = "failed.json"
"""What a worker says that no replacement would mend."""


def train_on_ray(
    config: TrainConfig,
    *,
    folder: Path,
    metrics: Metrics,
    states: Path | None = None,
    gpus: float = 0.0,
    on_history: Callable[[Sequence[Epoch]], None] = lambda _history: None,
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
    fits("training", per_worker, least)
    workers = (least, config.workers) if least < config.workers else config.workers
    trainer = TorchTrainer(
        _worker,
        train_loop_config={
            "config": config,
            "folder": folder,
            "metrics": metrics,
            "states": states,
            "save_seconds": save_seconds,
            "driver": Path.cwd(),
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
        reason = str(error).strip().splitlines()[-1]
        raise FftuneError(f"workers died more than {FAILURES} times; the last: {reason}") from None
    if (folder / FAILED).exists():
        failed = json.loads((folder / FAILED).read_text(encoding="utf-8"))
        raise getattr(errors, failed["error"])(failed["message"])
    checkpoint = RunFolder(folder).finished()
    assert checkpoint is not None  # the leading worker has written it
    on_history(checkpoint.history)
    return checkpoint


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
    """What every process does; Ray has set torch.distributed up."""
    arguments = dict(settings)
    metrics, config = arguments.pop("metrics"), settings["config"]
    stand_in(arguments.pop("driver"))
    if Group.current().leads:
        ours = logging.getLogger("fftune")
        ours.setLevel(logging.INFO)
        ours.addHandler(logging.FileHandler(settings["folder"] / LOG))
    try:
        train(**arguments, on_epoch=lambda epoch, _: count_epoch(metrics, epoch, config))
    except FftuneError as error:  # the next attempt would end alike, so none is made
        failed = {"error": type(error).__name__, "message": str(error)}
        if Group.current().leads:
            write_text(settings["folder"] / FAILED, json.dumps(failed) + "\n")
