"""The authors' training loop in plain torch: what fftune's is compared with."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fftune.config import TrainConfig
from fftune.keyed_noise import Noise
from fftune.models import eval_mode


@dataclass(kw_only=True, eq=False)
class PlainLoop:
    """PGD written out, an optimizer as torch makes it, a look at the loss after each step."""

    config: TrainConfig
    model: nn.Module
    fast: bool = False
    """Channels last and bf16 autocast, which the authors do not use; else as torch's defaults."""
    keyed: bool = False
    """Starts are those that fftune draws, to compare losses; else torch's generator's."""
    optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        settings = self.config.optimizer
        if self.fast:
            self.model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            settings.lr,
            settings.momentum,
            weight_decay=settings.weight_decay,
        )

    def step(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> float:
        """Take a step; the mean of its losses."""
        if self.fast:
            x = x.contiguous(memory_format=torch.channels_last)
        x_pert = x if self.config.objective == "standard" else self.crafted(ids, x, y, noise)
        self.model.train()
        self.optimizer.zero_grad()
        loss = self._objective(x, x_pert, y)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def crafted(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
        """(B, C, H, W), perturbed in eval mode."""
        with eval_mode(self.model):
            return self._ascended(x, y, self._start(ids, x, noise))

    def _start(self, ids: Tensor, x: Tensor, noise: Noise) -> Tensor:
        eps = self.config.attack.threat.eps
        share = (
            noise.fold("pgd", 0).uniform(ids, tuple(x.shape[1:])).to(x)
            if self.keyed
            else torch.rand_like(x)
        )
        return (x + eps * (2 * share - 1)).clamp(0, 1)

    def _ascended(self, x: Tensor, y: Tensor, x_pert: Tensor) -> Tensor:
        attack, eps = self.config.attack, self.config.attack.threat.eps
        with torch.no_grad():
            clean = self._logits(x).softmax(1) if self.config.objective == "trades" else None
        sign = -1 if self.config.objective == "thrm" else 1
        for _ in range(attack.steps):
            x_pert = x_pert.detach().requires_grad_()
            logits = self._logits(x_pert)
            if clean is None:
                loss = F.cross_entropy(logits, y)
            else:
                loss = F.kl_div(logits.log_softmax(1), clean, reduction="batchmean")
            (grad,) = torch.autograd.grad(loss, [x_pert])
            x_pert = x_pert.detach() + sign * attack.step_length * grad.sign()
            x_pert = (x + (x_pert - x).clamp(-eps, eps)).clamp(0, 1)
        return x_pert

    def _objective(self, x: Tensor, x_pert: Tensor, y: Tensor) -> Tensor:
        if self.config.objective not in ("trades", "thrm"):
            return F.cross_entropy(self._logits(x_pert), y)
        clean, perturbed = self._logits(torch.cat([x, x_pert])).chunk(2)
        kl = F.kl_div(perturbed.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, y) + self.config.lam * kl

    def _logits(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.fast):
            logits: Tensor = self.model(x)
        return logits.float()
