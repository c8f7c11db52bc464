"""The training loop of several nets side by side, equal but for lambda."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import TrainConfig, config_hash
from fftune.errors import DivergedError, FftuneError, ModelError
from fftune.models import make_model
from fftune.models.side_by_side import SideBySide
from fftune.training import last_words
from fftune.training.averages import holding
from fftune.training.checkpoint import Checkpoint
from fftune.training.history import EpochRecord
from fftune.training.run_dir import RunDir
from fftune.training.totals import EpochTotals, fault
from fftune.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Copy:
    """One of several nets in training."""

    config: TrainConfig
    history: list[EpochRecord] = field(default_factory=list)
    best: float = -1.0
    fault: str = ""
    """Why it has failed: its loss was not finite. It is computed on, and nothing of it is kept."""


@dataclass(kw_only=True)
class FusedTrainer(Trainer):
    """A run of `lams` side by side; what `Trainer` keeps of the run itself are means of the nets.

    No sum goes over two nets, so that one which diverges leaves the others as they are.
    """

    copies: list[Copy] = field(init=False)

    def __post_init__(self) -> None:
        self.copies = [Copy(config=replace(self.config, lam=lam)) for lam in self.lams]

    def outcomes(self) -> list[Checkpoint | DivergedError]:
        """Each net as it is now, in eval mode, or why it has failed."""
        return [
            DivergedError(one.fault) if one.fault else self._checkpoint(index)
            for index, one in enumerate(self.copies)
        ]

    def save_average(self) -> None:
        """Write the average of each net's weights to its folder, if there are both."""
        if self.average and self.folder:
            with holding(self.model, self.average.tensors):
                for index, one in self._going():
                    average = place_of(self.folder.path, one.config).average
                    self._checkpoint(index).save(average)

    def state_dict(self) -> dict[str, Any]:
        """The state from which the run is resumed."""
        own = [
            {
                "history": [asdict(epoch) for epoch in one.history],
                "best": one.best,
                "fault": one.fault,
            }
            for one in self.copies
        ]
        return Trainer.state_dict(self) | {"lams": list(self.lams), "copies": own}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the step at which `state_dict` was called.

        Raises:
            ModelError: the state is of a run with other settings or other data.
        """
        if state.get("lams") != list(self.lams):
            raise ModelError("the saved state is of a run with other lambdas")
        Trainer.load_state_dict(self, state)
        for one, own in zip(self.copies, state["copies"], strict=True):
            one.history = [EpochRecord(**record) for record in own["history"]]
            one.best, one.fault = own["best"], own["fault"]

    def _going(self) -> Iterator[tuple[int, Copy]]:
        """Nets that have not failed, and their indices."""
        return ((index, one) for index, one in enumerate(self.copies) if not one.fault)

    def _record(self, totals: EpochTotals, epoch: int, examples: int) -> EpochRecord:
        return self._means(totals, [index for index, _ in self._going()]).record(epoch, examples)

    def _means(self, totals: EpochTotals, indices: Sequence[int]) -> EpochTotals:
        return totals.of(torch.tensor(indices, device=self.device))

    def _close(self, record: EpochRecord) -> EpochRecord:
        assert self.totals is not None  # of the epoch that ends
        epoch, examples = record.epoch, self.stream.examples(record.epoch)
        for index, one in self._going():
            own = self._means(self.totals, [index]).record(epoch, examples)
            if self._validates(epoch):
                own = replace(own, validation_accuracy=self._validation.accuracy(self._net(index)))
            one.history.append(own)
            self._keep_best(index)
        return record

    def _require_finite(self, losses: Tensor, epoch: int) -> None:
        for index, one in self._going():
            one.fault = fault(losses[:, index], one.config, one.history, self._sizes(epoch))
            if one.fault:
                log.warning("one of %d nets fails: %s", len(self.copies), one.fault)
        if not [*self._going()]:
            raise DivergedError(self.copies[0].fault)

    def _keep_best(self, index: int) -> None:
        """Save a net if it did better on the validation split than it ever did."""
        one = self.copies[index]
        value = one.history[-1].validation_accuracy
        if value > one.best and self.folder:
            self._checkpoint(index).save(place_of(self.folder.path, one.config).best)
        one.best = max(one.best, value)

    def _checkpoint(self, index: int) -> Checkpoint:
        one = self.copies[index]
        return Checkpoint(
            config=one.config,
            inputs=self.stream.inputs,
            model=self._net(index),
            history=one.history,
            data_hash=self.stream.hash,
        )

    def _net(self, index: int) -> nn.Module:
        """One of the nets, as a net of its own in eval mode."""
        assert isinstance(self.model, SideBySide)
        made, config = self.model.state_of(index), self.config
        net = make_model(
            config.model,
            self.stream.inputs,
            seed=config.seed,
            width=config.width,
            constants=config.constants,
        )
        net.load_state_dict(made)
        net.to(self.device)
        net.to(memory_format=self.stepper.layout)
        return net.eval()


def failure_of(folder: Path, config: TrainConfig) -> FftuneError | None:
    """Why one net of a fused run has failed; None if it has not."""
    return last_words.left(place_of(folder, config).path)


def place_of(folder: Path, config: TrainConfig) -> RunDir:
    """The folder of one net of a fused run, as that of a run of its own."""
    return RunDir(folder / config_hash(config))
