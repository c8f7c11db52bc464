"""The training loop of one run, which can be saved and taken up again at any step."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import torch
from torch import Tensor, nn

from fftune.capture import forget
from fftune.config import TrainConfig, from_json, to_json
from fftune.data.dataset import Batch
from fftune.data.official_split import ListedSplit
from fftune.errors import DivergedError, ModelError
from fftune.keyed_noise import Noise
from fftune.models.side_by_side import side_by_side
from fftune.objectives import TrainingHooks, objective_of
from fftune.progress import Progress
from fftune.training.averages import WeightAverage, copied, holding
from fftune.training.checkpoint import Checkpoint
from fftune.training.distributed import ProcessGroup
from fftune.training.history import EpochRecord
from fftune.training.init_model import init_model
from fftune.training.optimizer import Updates, make_optimizer, make_schedule
from fftune.training.overfitting import OverfittingWatch
from fftune.training.phases import EpochStream, TrainingData, open_data, open_stream
from fftune.training.run_dir import RunDir
from fftune.training.step import Stepper, layout_of, make_stepper
from fftune.training.totals import EpochTotals, fault
from fftune.training.validation import Validation

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Trainer:
    """One training run: net, optimiser and data, and the epochs that are done."""

    config: TrainConfig
    group: ProcessGroup
    device: str
    folder: RunDir | None
    stream: EpochStream
    validation_split: ListedSplit | None
    """The validation split, if the run validates."""
    model: nn.Module
    stepper: Stepper
    optimizer: torch.optim.Optimizer
    updates: Updates
    schedule: torch.optim.lr_scheduler.LRScheduler
    watch: OverfittingWatch | None
    average: WeightAverage | None
    """Average of the weights; None where none is kept, as in processes that do not lead."""
    hooks: TrainingHooks | None
    """The objective's own actions around each step; None if it has none."""
    progress: Progress
    save_seconds: float
    """Seconds between two snapshots: no more work is lost with a crash."""
    saved: float = field(default_factory=time.perf_counter)
    history: list[EpochRecord] = field(default_factory=list)
    totals: EpochTotals | None = None
    """Sums of the epoch after `history`; None if it has not begun."""
    best: float = -1.0
    """Highest accuracy on the validation split so far."""
    best_net: dict[str, Any] | None = None
    """Its epoch and weights, for a later attempt in another folder; None where there is none."""
    stopped: str = ""
    """Reason why training ended before its last epoch, or empty."""
    lams: tuple[float, ...] = ()
    """Those of nets side by side; empty: there is one net."""

    @classmethod
    def begin(
        cls,
        config: TrainConfig,
        group: ProcessGroup,
        *,
        device: str,
        folder: RunDir | None,
        save_seconds: float,
        data: TrainingData | None = None,
        lams: tuple[float, ...] = (),
    ) -> Self:
        """A run before its first step.

        Args:
            data: what `open_data` has opened; None opens it now.
            lams: of so many nets side by side; empty: of one, with `config`'s. See `FusedTrainer`.

        Raises:
            ConfigError, DataError: the settings do not fit the data.
        """
        data = data or open_data(config)
        stream = open_stream(config, group, device=device, data=data)
        model = init_model(config, stream.inputs).to(device)
        if lams:
            model = side_by_side(model, len(lams), stream.inputs, name=f"model {config.model!r}")
        layout = layout_of(model, stream.inputs, device)
        optimizer = make_optimizer(model, config)
        steps = [stream.steps(epoch) for epoch in range(1, config.optimizer.epochs + 1)]
        objective = objective_of(config)
        hooks = objective.hooks(model, config, sum(steps)) if objective.hooks else None
        stepper = make_stepper(
            model,
            config,
            stream.inputs,
            group,
            device=device,
            layout=layout,
            steps=sum(steps),
            hooks=hooks,
            lams=lams,
        )
        told = ",".join(f"{lam:g}" for lam in lams or (config.lam,))
        name = f"{config.objective} lam={told}"
        decay = config.average_decay if group.leads else 0
        return cls(
            config=config,
            group=group,
            device=device,
            folder=folder,
            stream=stream,
            validation_split=data.validation,
            model=model,
            stepper=stepper,
            optimizer=optimizer,
            updates=Updates(model, optimizer, recorded=stepper.recorded),
            schedule=make_schedule(optimizer, config, steps),
            watch=OverfittingWatch.of(config, group),
            average=WeightAverage(model, decay) if decay else None,
            hooks=hooks,
            progress=Progress(name, unit="steps", total=sum(steps)),
            save_seconds=save_seconds,
            lams=lams,
        )

    def epochs(self) -> Iterator[EpochRecord]:
        """Train to the end and yield the record of each epoch."""
        self.progress.done = self._done(len(self.history) + 1)
        with self.progress:
            while len(self.history) < self.config.optimizer.epochs and not self.stopped:
                epoch = self._epoch(len(self.history) + 1)
                self.history.append(epoch)
                self.totals = None
                self._save_if_due()
                self.progress.update(
                    self._done(epoch.epoch + 1), note=epoch.note(self.config.optimizer.epochs)
                )
                yield epoch
        if self.hooks:
            self.hooks.finish()

    def checkpoint(self) -> Checkpoint:
        """The net as it is now, in eval mode."""
        return Checkpoint(
            config=self.config,
            inputs=self.stream.inputs,
            model=self.model.eval(),
            history=self.history,
            data_hash=self.stream.hash,
            stopped=self.stopped,
        )

    def save_average(self) -> None:
        """Write the average of the weights to the run's folder, if there are both."""
        if self.average and self.folder:
            with holding(self.model, self.average.tensors):
                self.checkpoint().save(self.folder.average)

    def state_dict(self) -> dict[str, Any]:
        """The state from which the run is resumed; the rest is a function of the settings."""
        return {
            "config": to_json(self.config),
            "data_hash": self.stream.hash,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "watch": self.watch.state_dict() if self.watch else None,
            "average": self.average.state_dict() if self.average else None,
            "history": [asdict(epoch) for epoch in self.history],
            "tally": asdict(self.totals) if self.totals else None,
            "best": self.best,
            "best_net": self.best_net,
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the step at which `state_dict` was called.

        Raises:
            ModelError: the state is of a run with other settings or other data.
        """
        if from_json(TrainConfig, state["config"]) != self.config:
            raise ModelError("the saved state is of a run with other settings")
        if state["data_hash"] != self.stream.hash:
            raise ModelError("the saved state is of a run with other training data")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.totals = EpochTotals(**state["tally"]) if state["tally"] else None
        if self.totals:
            self.totals.losses = self.totals.losses.to(self.device)
            self.totals.right = self.totals.right.to(self.device)
        self.best, self.stopped = state["best"], state["stopped"]
        for owner in (self.model, self.stepper.wrapped, self.optimizer):
            forget(owner)  # what was recorded before holds addresses of another state
        if self.watch:
            self.watch.load_state_dict(state["watch"])
        if self.average:
            self._load_average(state.get("average"))
        self.best_net = state.get("best_net")
        if self.best_net and self.folder and self.group.leads:
            with holding(self.model, self.best_net["weights"]):
                self._save_best(self.history[: self.best_net["epoch"]])

    def _load_average(self, state: dict[str, Any] | None) -> None:
        """Go on with the average of a snapshot; one of an older fftune has none."""
        decay = self.config.average_decay
        self.average = average = WeightAverage(self.model, decay)
        if state is not None:
            average.load_state_dict(state)
            return
        done = self._done(len(self.history) + 1)
        log.info("the state is of an older fftune: the average begins at step %d", done)

    def _epoch(self, epoch: int) -> EpochRecord:
        """Train the remaining steps of an epoch."""
        self.totals = totals = self.totals or self._fresh(epoch)
        began = time.perf_counter() - totals.seconds
        waited = self.stream.waited - totals.waited
        if self.watch:
            self.watch.batch = next(self.stream.batches(epoch))
        noise = Noise(self.config.seed).fold("train", self.stream.source(epoch), "epoch", epoch)
        for batch in self.stream.batches(epoch, start=totals.step):
            self._take(batch, totals, epoch, noise)
            totals.seconds = time.perf_counter() - began
            totals.waited = self.stream.waited - waited
            if self.group.leads and self.progress.due:
                self._beat(totals, epoch)
            self._save_if_due()
        self._require_finite(totals.losses, epoch)
        totals.seconds = time.perf_counter() - began  # the device is done only now
        totals.waited = self.stream.waited - waited
        return self._close(self._record(totals, epoch, self.stream.examples(epoch)))

    def _done(self, epoch: int) -> int:
        """Number of steps of the whole run that are done."""
        step = self.totals.step if self.totals else 0
        return sum(map(self.stream.steps, range(1, epoch))) + step

    def _fresh(self, epoch: int) -> EpochTotals:
        copies = self.stepper.copies
        return EpochTotals(
            losses=torch.zeros(self.stream.steps(epoch), *copies, device=self.device),
            right=torch.zeros(copies, device=self.device),
            lr=self.optimizer.param_groups[0]["lr"],
        )

    def _take(self, batch: Batch, totals: EpochTotals, epoch: int, noise: Noise) -> None:
        """Take one step."""
        real, examples = self.stream.share(epoch, totals.step)
        # Dropout, in nets that have it, must not depend on where a run was interrupted.
        torch.manual_seed(noise.fold("torch", totals.step).key(self.group.rank) % 2**63)
        self.model.train()
        self.updates.clear()
        if self.hooks:
            self.hooks.before_step(self._done(epoch))
        loss, right = self.stepper(batch, real=real, examples=examples, noise=noise)
        if self.hooks:
            self.hooks.before_update(self.optimizer.param_groups[0]["lr"])
        self.updates.step()
        self.schedule.step()
        if self.average:
            self.average.update(self.model)
        # Over all processes at once: from the leading one's state any number of them may go on.
        loss, right = self.group.total(torch.stack([loss, right]))
        totals.add(loss, right)

    def _record(self, totals: EpochTotals, epoch: int, examples: int) -> EpochRecord:
        """The measurements of the steps of an epoch that are done."""
        return totals.record(epoch, examples)

    def _close(self, record: EpochRecord) -> EpochRecord:
        """The record of an epoch that has ended, with all that is measured between two."""
        epoch = record.epoch
        if self.watch:
            robust, self.stopped = self.watch.look(self.model, epoch)
            record = replace(record, robust_accuracy=robust)
        if self._validates(epoch):
            record = replace(record, validation_accuracy=self._validated(record))
        return record

    def _validates(self, epoch: int) -> bool:
        """True after an epoch whose net is evaluated on the validation split."""
        due = self.config.validates(epoch) or bool(self.stopped)
        return self.validation_split is not None and due

    def _require_finite(self, losses: Tensor, epoch: int) -> None:
        """Wait for the device; raise `DivergedError` with the first step of no finite loss."""
        if found := fault(losses, self.config, self.history, self._sizes(epoch)):
            raise DivergedError(found)

    def _sizes(self, epoch: int) -> Callable[[int], int]:
        """Examples of each step of an epoch, over all processes."""
        return lambda step: self.stream.share(epoch, step)[1]

    @cached_property
    def _validation(self) -> Validation:
        assert self.validation_split is not None  # `open_data` opens it for runs that validate
        return Validation(self.config, self.validation_split, self.device)

    def _validated(self, record: EpochRecord) -> float:
        """Accuracy on the validation split; the best net so far (Rice et al. 2020) is saved."""
        value = self._validation.accuracy(self.model) if self.group.leads else 0.0
        value = self.group.leaders(value)
        if value > self.best and self.folder and self.group.leads:
            self._save_best([*self.history, record])
            if self.folder.elsewhere:
                self.best_net = {"epoch": record.epoch, "weights": copied(self.model)}
        self.best = max(self.best, value)
        return value

    def _save_best(self, history: Sequence[EpochRecord]) -> None:
        assert self.folder is not None
        replace(self.checkpoint(), history=history).save(self.folder.best)

    def _save_if_due(self) -> None:
        if time.perf_counter() - self.saved >= self.save_seconds:
            self.save()

    def save(self) -> None:
        """Save the state, if the run has a folder."""
        if self.folder is None or not self.group.leads:
            return
        step = self.totals.step if self.totals else 0
        self.folder.states.save(self.state_dict(), epoch=len(self.history), step=step)
        self.saved = time.perf_counter()

    def _beat(self, totals: EpochTotals, epoch: int) -> None:
        if self.group.size == 1:  # the others would wait for a leader that has raised
            self._require_finite(totals.losses, epoch)
        seen = sum(map(self._sizes(epoch), range(totals.step)))
        record = self._record(totals, epoch, seen)
        self._tell(record, self._done(epoch))

    def _tell(self, record: EpochRecord, done: int) -> None:
        self.progress.update(done, note=record.note(self.config.optimizer.epochs))
