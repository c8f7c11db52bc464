"""The training loop: craft, one joint forward, one step. It knows nothing of Ray."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.attacks import SEARCHES
from fftune.config import TrainConfig, require
from fftune.data import Dataset, load
from fftune.data.dataset import Batch
from fftune.errors import DivergedError
from fftune.models import eval_mode, make_model
from fftune.noise import Noise
from fftune.objectives import crafting, loss_of, standard
from fftune.train.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one pass over the training data came to."""

    epoch: int
    """Counted from 1."""
    lr: float
    loss: float
    """The objective's mean over the examples, in train mode, as the weights moved."""
    accuracy: float
    """On the clean half of the batches, likewise."""
    seconds: float


def train(config: TrainConfig, *, on_epoch: Callable[[Epoch], None] = lambda _: None) -> Checkpoint:
    """Train one net from scratch in this process.

    Args:
        on_epoch: called after every epoch, in order.

    Raises:
        DivergedError: the loss is nan or infinite.
        ConfigError, DataError: the settings do not fit the data.
    """
    data, model = prepare(config)
    history = []
    for epoch in _epochs(model, data, config):
        history.append(epoch)
        on_epoch(epoch)
    return Checkpoint(config=config, inputs=data.inputs, model=model.eval(), history=history)


def prepare(config: TrainConfig) -> tuple[Dataset, nn.Module]:
    """The training data and the fresh net. A driver calls it to fail before anything starts.

    Raises:
        ConfigError, DataError: the settings do not fit the data.
    """
    data = load(config.data, "train")
    size = config.optimizer.batch_size
    require("optimizer.batch_size", size <= len(data), f"<= train_size {len(data)}", size)
    return data, make_model(config.model, data.inputs, seed=config.seed)


def _epochs(model: nn.Module, data: Dataset, config: TrainConfig) -> Iterator[Epoch]:
    settings, noise = config.optimizer, Noise(config.seed).fold("train", data.source.name)
    optimizer = torch.optim.SGD(
        model.parameters(), settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )
    steps = settings.epochs * math.ceil(len(data) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps)
    for epoch in range(1, settings.epochs + 1):
        began, lr = time.perf_counter(), optimizer.param_groups[0]["lr"]
        order = noise.fold("order", epoch).permutation(len(data))
        total, right = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for batch in data.batches(settings.batch_size, order):
            loss, logits = _objective(model.train(), batch, config, noise.fold("epoch", epoch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach() * len(logits)
            right += (logits.detach().argmax(1) == batch[2]).sum()
        mean = float(total) / len(data)
        if not math.isfinite(mean):
            raise DivergedError(f"loss is {mean} in epoch {epoch} (lam {config.lam:g}, lr {lr:g})")
        yield Epoch(
            epoch=epoch,
            lr=lr,
            loss=mean,
            accuracy=int(right) / len(data),
            seconds=time.perf_counter() - began,
        )


def _objective(
    model: nn.Module, batch: Batch, config: TrainConfig, noise: Noise
) -> tuple[Tensor, Tensor]:
    """The loss and the (B, K) logits of the clean batch.

    Crafted in eval mode; both halves then go through one joint forward in train mode, as the
    authors' code does, so that BatchNorm sees the statistics of both.
    """
    ids, x, y = batch
    craft = crafting(config.objective, config.lam)
    if craft is None:
        logits = model(x)
        return standard(logits, y), logits
    with eval_mode(model):
        x_pert = SEARCHES[config.attack.search](
            model,
            x,
            y,
            config=config.attack,
            goal=craft.goal,
            loss=craft.loss,
            noise=noise,
            ids=ids,
        )
    logits, logits_pert = model(torch.cat([x, x_pert])).chunk(2)
    return loss_of(config.objective, logits, logits_pert, y, lam=config.lam), logits
