"""One step of training: craft perturbed images, one forward pass, one backward pass."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fftune.attacks import attack_spec, check_search
from fftune.attacks.search_state import checked_before
from fftune.capture import records
from fftune.config import InputSpec, TrainConfig
from fftune.data.dataset import Batch
from fftune.devices import policy
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise
from fftune.models import eval_mode
from fftune.models.conditional import AtLambda
from fftune.models.equivalence import answers, difference
from fftune.objectives import Crafting, TrainingHooks, objective_of
from fftune.registry import is_of_file
from fftune.threat import is_inside
from fftune.training.compiling import Compiled, compiles, full_rows
from fftune.training.crafting_net import CraftingNet, crafting_net, probe_pixels
from fftune.training.distributed import ProcessGroup
from fftune.training.joint_step import Loss, add_gradients, add_gradients_recorded
from fftune.training.lambda_draws import drawn_lambdas

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One forward and backward pass of a step."""

    net: nn.Module
    inputs: Tensor
    """(N, C, H, W), the clean images first, where they take part."""
    loss: Loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepper:
    """Computes gradients of the objective's mean over a whole step."""

    config: TrainConfig
    model: nn.Module
    """The net itself."""
    crafted_on: CraftingNet | None = None
    """Its stand-in for searches; None: they ask the net itself, in fp32."""
    wrapped: nn.Module
    """The wrapped net, which averages gradients over all processes."""
    loss: Loss
    """The objective; see `loss_of`."""
    crafting: Crafting | None
    """The attack whose perturbed batch the objective is computed on; None: there is none."""
    processes: int
    device: str
    layout: torch.memory_format = torch.channels_last
    """Memory layout of images; see `layout_of`."""
    recorded: bool = False
    """The joint step is recorded, which wants gradients at addresses that last."""
    copies: tuple[int, ...] = ()
    """(k,) if the net is k nets side by side, each with its own loss; () if it is one."""

    def __post_init__(self) -> None:
        if self.crafting is not None:
            check_search(self.config.attack, self.crafting.loss)

    def __call__(
        self, batch: Batch, *, real: int, examples: int, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Add this process's gradients.

        Args:
            batch: this process's share of the step.
            real: how many of it count; the rest, at its end, is padding.
            examples: of the step, over all processes.
            noise: the branch of this epoch.

        Returns:
            The sum of the losses and the number of right predictions, of shape `copies`, on the
            device: reading them would wait for it.
        """
        ids, x, y = (column[: max(real, 1)] for column in batch)  # all processes must take part
        x = x.contiguous(memory_format=self.layout)
        cut = [column.chunk(self.config.optimizer.accumulate) for column in (ids, x, y)]
        pieces = [*zip(*cut, strict=True)]
        add = add_gradients_recorded if self.recorded else add_gradients
        losses: list[Tensor] = []
        right: list[Tensor] = []
        for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
            counted = min(len(piece[0]), real)
            ids, x, y = self._rows(*piece)
            part = self._part(ids, x, y, noise)
            with self._synchronised(last=left == 0):
                loss, hits = add(
                    part.net,
                    part.inputs,
                    y,
                    loss=part.loss,
                    precision=self.config.precision,
                    counted=counted,
                    # DDP averages over the processes, whose shares of a last step may differ.
                    weight=counted * self.processes / examples,
                    copies=self.copies,
                )
            losses.append(loss)
            right.append(hits)
        return torch.stack(losses).sum(0), torch.stack(right).sum(0)

    def _rows(self, ids: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A row for each net, as `SideBySide` wants them: equal ids draw equal noise."""
        if not self.copies:
            return ids, x, y
        ids, x, y = (column.repeat_interleave(self.copies[0], 0) for column in (ids, x, y))
        return ids, x.contiguous(memory_format=self.layout), y

    def _part(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Part:
        """The net, the images that the objective is computed on, and the objective."""
        inputs = x
        if craft := self.crafting:
            x_pert = self._crafted(self.model, ids, x, y, noise)
            inputs = torch.cat([x, x_pert]) if craft.joint else x_pert
        return Part(net=self.wrapped, inputs=inputs, loss=self.loss)

    def _crafted(self, model: nn.Module, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Tensor:
        """Perturbed images, crafted in eval mode, as the authors do."""
        craft, attack = self.crafting, self.config.attack
        assert craft is not None
        asked = self.crafted_on or CraftingNet(source=model, asked=model)
        # Pixels and labels were checked with the data, and the classes of the net by `init_model`.
        checked = nullcontext() if is_of_file(attack.search) else checked_before()
        with asked.current() as net, checked:
            x_pert = torch.cat(
                [
                    attack_spec(attack.search).run(
                        net,
                        x_part,
                        y_part,
                        config=attack,
                        goal=craft.goal,
                        loss=craft.loss,
                        noise=noise,
                        ids=ids_part,
                    )
                    for ids_part, x_part, y_part in self._at_once(ids, x, y)
                ]
            )
        if is_of_file(attack.search) and not is_inside(x_pert, x, attack.threat):
            raise ConfigError(f"attack {attack.search!r} left the ball of {attack.threat}")
        return x_pert

    def _at_once(self, ids: Tensor, x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Parts that a search does not cut: it would cut between the rows of an example."""
        rows = len(x)
        if self.copies:
            most = policy(x.device.type).most(x[:1].numel(), rows)
            rows = most // self.copies[0] * self.copies[0]
        return zip(*(column.split(rows) for column in (ids, x, y)), strict=True)

    def _synchronised(self, *, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once a step, with its last part."""
        if last or self.processes == 1:
            return nullcontext()
        context: AbstractContextManager[None] = self.wrapped.no_sync()  # type: ignore[operator]
        return context


class OneNetStepper(Stepper):
    """Steps of one net for all lambdas: each example has its own, which its attacker knows.

    Examples of lambda = 0 are not perturbed, as in standard training.
    """

    def _part(self, ids: Tensor, x: Tensor, y: Tensor, noise: Noise) -> Part:
        lam = drawn_lambdas(noise, ids, self.config.draws, top=self.config.lam)
        hard = lam > 0
        inputs, rows = x, lam
        if hard.any():
            asked = AtLambda(self.model, lam[hard])
            x_pert = self._crafted(asked, ids[hard], x[hard], y[hard], noise)
            inputs, rows = torch.cat([x, x_pert]), torch.cat([lam, lam[hard]])
        objective = objective_of(self.config)

        def loss(logits: Tensor, y: Tensor) -> Tensor:
            assert objective.loss is not None
            return objective.loss(logits[: len(y)], logits[len(y) :], y, lam=lam)

        return Part(net=AtLambda(self.wrapped, rows), inputs=inputs, loss=loss)


def make_stepper(
    model: nn.Module,
    config: TrainConfig,
    inputs: InputSpec,
    group: ProcessGroup,
    *,
    device: str,
    layout: torch.memory_format,
    steps: int,
    hooks: TrainingHooks | None = None,
    lams: tuple[float, ...] = (),
) -> Stepper:
    """The steps of a run: what they craft on, what is recorded, what is compiled.

    Args:
        model: on its device.
        layout: as `layout_of` has laid its weights.
        steps: of the whole run.
        hooks: the objective's own, if it has some.
        lams: those of the nets that `model` has side by side; empty: it is one, with `config`'s.
    """
    one_net = objective_of(config).all_lambdas
    wrapped = group.wrap(model, device)
    recorded = not one_net and _may_record(group, hooks, device)
    crafted_on = crafting_net(model, config, inputs, device)
    if crafted_on and compiles(config, crafting=True, steps=steps, device=device):
        rows = full_rows(config, group.size, crafting=True, device=device, copies=len(lams) or 1)
        crafted_on = crafted_on.compiled(rows)
    alone = group.size == 1 and hooks is None and not one_net
    if alone and compiles(config, crafting=False, steps=steps, device=device):
        rows = full_rows(config, 1, crafting=False, device=device, copies=len(lams) or 1)
        wrapped = Compiled(wrapped, rows, "the net of the joint step")
    return (OneNetStepper if one_net else Stepper)(
        config=config,
        model=model,
        crafted_on=crafted_on,
        wrapped=wrapped,
        loss=hooks.loss if hooks else loss_of(config, lams),
        crafting=objective_of(config).crafting,
        processes=group.size,
        device=device,
        layout=layout,
        recorded=recorded,
        copies=(len(lams),) if lams else (),
    )


def _may_record(group: ProcessGroup, hooks: TrainingHooks | None, device: str) -> bool:
    """True if joint steps are recorded: they repeat, and gradients stay within this process."""
    if not records(device):
        return False
    reason = "gradients are exchanged between processes" if group.size > 1 else ""
    if hooks is not None:
        reason = "the objective changes the net, or itself, from step to step"
    if reason and group.leads:
        log.info("the joint step runs unrecorded: %s", reason)
    return not reason


def _overruns(module: nn.Module) -> bool:
    """Tell a convolution whose gradient, channels last, overruns its memory (oneDNN issue 6035)."""
    if not isinstance(module, nn.Conv2d):
        return False
    single, strided = set(module.kernel_size) == {1}, max(module.stride) > 1
    return single and strided and module.in_channels // module.groups < 16


def layout_of(model: nn.Module, inputs: InputSpec, device: str) -> torch.memory_format:
    """Lay the net's weights channels last, where it then answers as it did; the layout it has.

    That is a quarter faster on a CPU, and what an accelerator's convolutions want. A net that
    takes `view` of a convolution's output cannot have it, nor on a CPU one that `_overruns`.
    """
    if device == "cpu" and any(map(_overruns, model.modules())):
        log.info(
            "trained with channels first: of a strided 1x1 convolution of fewer than 16 channels "
            "oneDNN computes wrong gradients where they are last, or crashes"
        )
        return torch.contiguous_format
    pixels = probe_pixels(inputs, device)
    with eval_mode(model), torch.random.fork_rng(devices=[]):
        try:
            known = answers(model, pixels)
        except Exception:  # whatever the user's code raises: the first step will say it
            log.debug("the net cannot be asked", exc_info=True)
            return torch.contiguous_format
        model.to(memory_format=torch.channels_last)
        reason = difference(model, known, pixels.contiguous(memory_format=torch.channels_last))
    if not reason:
        return torch.channels_last
    log.info("trained with channels first, as the net cannot have them last: %s", reason)
    model.to(memory_format=torch.contiguous_format)
    return torch.contiguous_format


def loss_of(config: TrainConfig, lams: tuple[float, ...] = ()) -> Loss:
    """The objective as a function of the logits and y; see `ObjectiveSpec.value`.

    Args:
        lams: those of k nets side by side, whose rows take turns; their losses are (k,).
    """
    objective = objective_of(config)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return objective.value(logits, y, lam=config.lam)

    def losses(logits: Tensor, y: Tensor) -> Tensor:
        own = ((logits[at :: len(lams)], y[at :: len(lams)]) for at in range(len(lams)))
        return torch.stack(
            [objective.value(*one, lam=lam) for lam, one in zip(lams, own, strict=True)]
        )

    return losses if lams else loss
