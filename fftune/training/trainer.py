"""A training run on its way: its net, what moves it, and how far it is."""

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import TrainConfig, to_json
from fftune.data.dataset import Batch
from fftune.errors import DivergedError, ModelError
from fftune.keyed_noise import Noise
from fftune.progress import Progress
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.history import EpochRecord
from fftune.training.init_model import init_model
from fftune.training.linf_dist import DistanceTraining
from fftune.training.optimizer import make_optimizer, make_schedule
from fftune.training.overfitting import OverfittingWatch
from fftune.training.phases import EpochStream, open_stream
from fftune.training.run_dir import RunDir
from fftune.training.step import Stepper, folded_of, layout_of, objective_of
from fftune.training.validation import Validation

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class EpochTotals:
    """How far an epoch is. The tensors stay on the device: reading them would wait for it."""

    losses: Tensor
    """(steps,), the sum over the examples of each step; 0 for those to come."""
    right: Tensor
    """A scalar, the right predictions."""
    lr: float
    """Of the first step."""
    step: int = 0
    """Steps that are done."""
    seconds: float = 0.0
    """Spent before this process took the epoch up."""


@dataclass(kw_only=True)
class Trainer:
    """Epochs one after the other, from wherever the run is."""

    config: TrainConfig
    group: ProcessGroup
    device: str
    folder: RunDir | None
    feed: EpochStream
    model: nn.Module
    stepper: Stepper
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    watch: OverfittingWatch | None
    distance: DistanceTraining | None
    progress: Progress
    save_seconds: float
    """No more work than this is lost with a crash."""
    saved: float = field(default_factory=time.perf_counter)
    history: list[EpochRecord] = field(default_factory=list)
    tally: EpochTotals | None = None
    """Of the epoch after `history`, if it has begun."""
    best: float = -1.0
    stopped: str = ""
    """Why training ended before its last epoch."""

    @classmethod
    def begin(
        cls,
        config: TrainConfig,
        group: ProcessGroup,
        *,
        device: str,
        folder: RunDir | None,
        save_seconds: float,
    ) -> "Trainer":
        """A run before its first step.

        Raises:
            ConfigError, DataError: the settings do not fit the data.
        """
        feed = open_stream(config, group, device=device)
        model = init_model(config, feed.inputs).to(device)
        layout = layout_of(model, feed.inputs, device)
        optimizer = make_optimizer(model, config)
        steps = [feed.steps(epoch) for epoch in range(1, config.optimizer.epochs + 1)]
        distance = DistanceTraining.of(model, config, sum(steps))
        wrapped = group.wrap(model, device)
        stepper = Stepper(
            config=config,
            model=model,
            folded=folded_of(model, config, feed.inputs, device),
            wrapped=wrapped,
            loss=distance.loss if distance else objective_of(config),
            processes=group.size,
            device=device,
            layout=layout,
        )
        name = f"{config.objective} lam={config.lam:g}"
        return cls(
            config=config,
            group=group,
            device=device,
            folder=folder,
            feed=feed,
            model=model,
            stepper=stepper,
            optimizer=optimizer,
            schedule=make_schedule(optimizer, config, steps),
            watch=OverfittingWatch.of(config, group),
            distance=distance,
            progress=Progress(name, unit="steps", total=sum(steps)),
            save_seconds=save_seconds,
        )

    def epochs(self) -> Iterator[EpochRecord]:
        """Train to the end, an epoch at a time."""
        self.progress.done = self._done(len(self.history) + 1)
        with self.progress:
            while len(self.history) < self.config.optimizer.epochs and not self.stopped:
                epoch = self._epoch(len(self.history) + 1)
                self.history.append(epoch)
                self.tally = None
                self._save_if_due()
                self.progress.update(self._done(epoch.epoch + 1), note=self._note(epoch))
                yield epoch
        if self.distance:
            self.distance.finish()

    def checkpoint(self) -> Checkpoint:
        """The net as it is."""
        return Checkpoint(
            config=self.config,
            inputs=self.feed.inputs,
            model=self.model.eval(),
            history=self.history,
            data_hash=self.feed.hash,
            stopped=self.stopped,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the run needs to go on: what is not here is a function of the settings."""
        return {
            "config": to_json(self.config),
            "data_hash": self.feed.hash,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "watch": self.watch.state_dict() if self.watch else None,
            "history": [asdict(epoch) for epoch in self.history],
            "tally": asdict(self.tally) if self.tally else None,
            "best": self.best,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was called.

        Raises:
            ModelError: the state is of a run with other settings or other data.
        """
        for name, own in (("config", to_json(self.config)), ("data_hash", self.feed.hash)):
            if state[name] != own:
                what = "settings" if name == "config" else "training data"
                raise ModelError(f"the saved state is of a run with other {what}")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.tally = EpochTotals(**state["tally"]) if state["tally"] else None
        if self.tally:
            self.tally.losses = self.tally.losses.to(self.device)
            self.tally.right = self.tally.right.to(self.device)
        self.best, self.stopped = state["best"], state["stopped"]
        if self.watch:
            self.watch.load_state_dict(state["watch"])

    def _epoch(self, epoch: int) -> EpochRecord:
        """What remains of an epoch."""
        self.tally = tally = self.tally or self._fresh(epoch)
        began = time.perf_counter() - tally.seconds
        if self.watch:
            self.watch.batch = next(self.feed.batches(epoch))
        noise = Noise(self.config.seed).fold("train", self.feed.source(epoch), "epoch", epoch)
        for batch in self.feed.batches(epoch, start=tally.step):
            self._take(batch, tally, epoch, noise)
            tally.seconds = time.perf_counter() - began
            if self.group.leads and self.progress.due:
                self._beat(tally, epoch)
            self._save_if_due()
        return self._close(tally, epoch)

    def _done(self, epoch: int) -> int:
        """Steps of the whole run that are done."""
        step = self.tally.step if self.tally else 0
        return sum(map(self.feed.steps, range(1, epoch))) + step

    def _fresh(self, epoch: int) -> EpochTotals:
        return EpochTotals(
            losses=torch.zeros(self.feed.steps(epoch), device=self.device),
            right=torch.zeros((), device=self.device),
            lr=self.optimizer.param_groups[0]["lr"],
        )

    def _take(self, batch: Batch, tally: EpochTotals, epoch: int, noise: Noise) -> None:
        """One step."""
        real, examples = self.feed.share(epoch, tally.step)
        # Dropout, in nets that have it, must not depend on where a run was interrupted.
        torch.manual_seed(noise.fold("torch", tally.step).key(self.group.rank) % 2**63)
        self.model.train()
        self.optimizer.zero_grad()
        if self.distance:
            self.distance.before_step(self._done(epoch))
        loss, right = self.stepper(batch, real=real, examples=examples, noise=noise)
        if self.distance:
            self.distance.before_update(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        self.schedule.step()
        # Over all processes at once: from the leading one's state any number of them may go on.
        loss, right = self.group.total(torch.stack([loss, right]))
        tally.losses[tally.step] = loss
        tally.right += right
        tally.step += 1

    def _close(self, tally: EpochTotals, epoch: int) -> EpochRecord:
        """The epoch's record, over all processes.

        Raises:
            DivergedError: a loss was not finite.
        """
        losses, examples = tally.losses, self.feed.examples(epoch)
        self._require_finite(losses, epoch)
        record = EpochRecord(
            epoch=epoch,
            lr=tally.lr,
            loss=float(losses.sum()) / examples,
            accuracy=float(tally.right) / examples,
            seconds=tally.seconds,
            examples_per_second=examples / tally.seconds,
        )
        if self.watch:
            robust, self.stopped = self.watch.look(self.model, epoch)
            record = replace(record, robust_accuracy=robust)
        every = self.config.validate_every
        if every and (epoch % every == 0 or epoch == self.config.optimizer.epochs):
            record = replace(record, validation_accuracy=self._validated())
        return record

    def _require_finite(self, losses: Tensor, epoch: int) -> None:
        """Name the first step whose loss was no number."""
        bad = (~losses.isfinite()).nonzero().flatten().tolist()
        if not bad:
            return
        step = bad[0]
        last = self.history[-1].loss if self.history else math.nan
        if step:
            last = float(losses[step - 1]) / self.feed.share(epoch, step - 1)[1]
        raise DivergedError(
            f"loss is {float(losses[step])} in epoch {epoch}, step {step + 1} "
            f"(lam {self.config.lam:g}, lr {self.config.lr:g}); the last finite one was {last:.4g}"
        )

    @cached_property
    def _validation(self) -> Validation:
        return Validation(self.config, self.device)

    def _validated(self) -> float:
        """Accuracy on the validation split; the best net so far is kept."""
        value = self._validation.accuracy(self.model) if self.group.leads else 0.0
        value = self.group.leaders(value)
        if value > self.best and self.folder and self.group.leads:
            self.checkpoint().save(self.folder.best)
        self.best = max(self.best, value)
        return value

    def _save_if_due(self) -> None:
        if time.perf_counter() - self.saved >= self.save_seconds:
            self.save()

    def save(self) -> None:
        """Keep the state, where it is to be kept."""
        if self.folder is None or not self.group.leads:
            return
        step = self.tally.step if self.tally else 0
        self.folder.states.save(self.state_dict(), epoch=len(self.history), step=step)
        self.saved = time.perf_counter()

    def _beat(self, tally: EpochTotals, epoch: int) -> None:
        if self.group.size == 1:  # the others would wait for a leader that has raised
            self._require_finite(tally.losses, epoch)
        seen = sum(self.feed.share(epoch, step)[1] for step in range(tally.step))
        so_far = EpochRecord(
            epoch=epoch,
            lr=tally.lr,
            loss=float(tally.losses.sum()) / seen,
            accuracy=float(tally.right) / seen,
            seconds=tally.seconds,
            examples_per_second=seen / tally.seconds,
        )
        self.progress.update(self._done(epoch), note=self._note(so_far))

    def _note(self, epoch: EpochRecord) -> str:
        """Loss, accuracy and speed of an epoch, or of its part that is done, in words."""
        note = f"epoch {epoch.epoch}/{self.config.optimizer.epochs}, loss {epoch.loss:.4g}"
        note += f", accuracy {epoch.accuracy:.3f}"
        if math.isfinite(epoch.validation_accuracy):
            note += f", validation accuracy {epoch.validation_accuracy:.3f}"
        return f"{note}, {epoch.examples_per_second:,.0f} examples/s"
