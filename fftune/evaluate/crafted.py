"""Examples crafted once, so that each trial of a hedge sweep pays for its defence alone."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fftune.config import AttackConfig, BatteryConfig, HedgeConfig, ThreatModel
from fftune.data import Dataset
from fftune.errors import DataError
from fftune.evaluate.battery import Probe
from fftune.evaluate.block import Subject, searched
from fftune.evaluate.defended import predict
from fftune.evaluate.tiers import Part
from fftune.models import eval_mode, torch_threads
from fftune.noise import Noise
from fftune.risk import RiskCounts
from fftune.storage import write_whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Crafted:
    """A split, and what an adversary and a false friend made of it on the bare net."""

    source: str
    split: str
    model_hash: str
    threat: ThreatModel
    ids: Tensor
    y: Tensor
    x: Tensor
    x_adv: Tensor
    x_hyp: Tensor
    """(N, C, H, W) each."""

    def write(self, path: Path) -> None:
        """One file, whole or not at all."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields |= {"norm": self.threat.norm, "eps": self.threat.eps}
        del fields["threat"]
        write_whole(path, lambda part: torch.save(fields, part))

    @classmethod
    def read(cls, path: Path) -> "Crafted":
        """What `write` wrote.

        Raises:
            DataError: the file is missing or damaged.
        """
        try:
            fields = torch.load(path, weights_only=True)
            threat = ThreatModel(norm=fields.pop("norm"), eps=fields.pop("eps"))
            return cls(threat=threat, **fields)
        except (OSError, EOFError, pickle.UnpicklingError, RuntimeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"crafted examples {str(path)!r} cannot be read: {reason}") from None


def craft(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    attack: AttackConfig,
    *,
    model_hash: str,
) -> Crafted:
    """Both goals on every example, with one attack, a block at a time."""
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    part = Part(config=attack, loss="ce")
    adversary = Probe(attack="crafted", goal="adversarial", parts=(part,))
    friend = replace(adversary, goal="hypocritical")
    blocks = []
    with eval_mode(net), torch_threads(battery.threads):
        classes = len(dataset.source.classes)
        subject = Subject(net=net, search_net=net, classes=classes, columns={})
        for block in dataset.batches(battery.block_size):
            pair = [searched(subject, block, probe, noise).x_pert for probe in (adversary, friend)]
            blocks.append((*block, *pair))
    ids, x, y, x_adv, x_hyp = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return Crafted(
        source=dataset.source.name,
        split=dataset.split,
        model_hash=model_hash,
        threat=attack.threat,
        ids=ids,
        y=y,
        x=x,
        x_adv=x_adv,
        x_hyp=x_hyp,
    )


def defended_counts(
    net: nn.Module, crafted: Crafted, config: HedgeConfig, *, battery: BatteryConfig, seed: int = 0
) -> RiskCounts:
    """The risks of the defended net, whose own mistakes under one draw make up its D-.

    Attackers do not know the defence: the figures flatter it, and a front of them ranks
    settings, it does not prove any.
    """
    noise = Noise(seed).fold("defense", crafted.source, crafted.split, 0)

    def right(inputs: Tensor) -> Tensor:
        size = battery.block_size
        blocks: Sequence[tuple[Tensor, Tensor]] = [
            *zip(inputs.split(size), crafted.ids.split(size), strict=True)
        ]
        preds = [predict(net, x, config=config, noise=noise, ids=ids) for x, ids in blocks]
        return torch.cat(preds) == crafted.y

    with eval_mode(net), torch_threads(battery.threads):
        clean, adv, hyp = (right(x) for x in (crafted.x, crafted.x_adv, crafted.x_hyp))
    return RiskCounts(
        total=len(clean),
        wrong=int((~clean).sum()),
        fooled=int((clean & ~adv).sum()),
        concealed=int((~clean & hyp).sum()),
        regained=int((~clean & adv).sum()),
        spoiled=int((clean & ~hyp).sum()),
    )
