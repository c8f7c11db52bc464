"""Transfer: points that were crafted on other nets, scored on the net under test.

A net whose gradients mislead can hide from every search that follows them; another net's do not
mislead in the same way (Papernot et al. 2016; Athalye et al. 2018 on masked gradients).
"""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from fftune.attacks import attack_spec, success
from fftune.attacks.query_counter import QueryCounter
from fftune.attacks.search_state import checked_before
from fftune.config import Goal, ModelSpec, ThreatModel, Tier
from fftune.data import Dataset
from fftune.data.model_spec import load_for
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.batteries import Attack, Scope
from fftune.evaluation.tiers import TIERS, AttackStage
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import (
    adapted,
    eval_mode,
    fits,
    frozen,
    inference_copy,
    placed,
    weights_hash,
)
from fftune.models.loading import loaded, source_of
from fftune.models.specs import named_spec, read_spec, runs_file
from fftune.models.variants import checkpoint_at
from fftune.registry import MODELS
from fftune.storage import sha256
from fftune.user_code import local_code

NamedNet = tuple[str, nn.Module | ModelSpec]
"""A net of the caller's, and what it is called."""
ASKED = 16
"""Images on which a net's logits are part of its identity."""
GOALS: tuple[Goal, ...] = ("adversarial", "hypocritical")
"""Goals that points are crafted for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OtherNet:
    """A net of the user's on which points are crafted. It travels to any worker."""

    name: str
    hash: str
    """16 hex digits of its weights, its modules, its code, and its logits on a few images."""
    spec: ModelSpec | None = None
    """Description by which any process builds it; None for a net in memory."""
    weights: bytes = b""
    """Its state_dict, as `torch.save` writes it; none of a net in memory."""
    net: nn.Module | None = None
    """The net itself, where it is in the memory of this process, of which nothing travels."""

    @classmethod
    def read(cls, place: str | ModelSpec, dataset: Dataset) -> "OtherNet":
        """Load a net by its description, the folder of its checkpoint, or as `--model` is spelled.

        Raises:
            ConfigError: it is the name of an architecture, whose weights nobody has trained.
            ModelError: it cannot be built, or does not fit the data's images and classes.
        """
        try:
            given = _spec_of(place) if isinstance(place, str) else place
            net, spec = load_for(given, lambda: dataset)
            key = _identity(net, dataset, spec)
        except ModelError as error:
            told = place if isinstance(place, str) else place.label
            raise ModelError(f"battery.transfer {told!r}: {error}") from error
        weights = io.BytesIO()
        torch.save(net.state_dict(), weights)
        return cls(name=spec.label, spec=spec, weights=weights.getvalue(), hash=key)

    @classmethod
    def given(cls, name: str, net: nn.Module, dataset: Dataset) -> "OtherNet":
        """Take a net in memory, which is left as it is.

        Raises:
            ModelError: it does not fit the data's images and classes.
        """
        try:
            with eval_mode(net), frozen(net):
                return cls(name=name, hash=_identity(net, dataset, None), net=net)
        except ModelError as error:
            raise ModelError(f"transfer {name!r}: {error}") from error

    def copied(self, device: str, few: Tensor) -> nn.Module:
        """The copy that searches ask, on a device; of a net in memory inside `at_hand`.

        Args:
            few: (B, C, H, W) images on that device; see `models.inference_copies`.
        """
        return inference_copy(adapted(self._built(device), few), "fp32", few)

    def _built(self, device: str) -> nn.Module:
        if self.net is not None:
            return self.net
        assert self.spec is not None  # it is in memory, or described
        net = loaded(self.spec, bare=True).net
        net.load_state_dict(torch.load(io.BytesIO(self.weights), weights_only=True))
        return net.requires_grad_(False).to(device).eval()


@contextmanager
def at_hand(others: Iterable[OtherNet], device: str) -> Iterator[None]:
    """Nets in memory on a device, frozen and in eval mode inside the block; then as they were."""
    with ExitStack() as held:
        for net in (other.net for other in others if other.net is not None):
            for context in (eval_mode(net), frozen(net), placed(net, device)):
                held.enter_context(context)
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer(Attack):
    """Points crafted on another net, which stand in a battery like those of an attack.

    Each search hands over its point of highest loss, as the first that fools the other net would
    hardly fool this one. What the net under test predicts of the clean image counts first.
    """

    net: str
    """Name of the other net in `ModelUnderTest.others`."""
    net_hash: str
    """Hash of the other net, on which rows depend."""

    @property
    def is_ensemble(self) -> bool:
        """False: no search of it is ever made longer."""
        return False

    @property
    def is_plain(self) -> bool:
        """False: the other net is part of it."""
        return False

    @property
    def follows(self) -> bool:
        """False: it asks for no gradients of the net under test."""
        return False


class Attempt(Protocol):
    """State of an attack on a block of B examples; see `evaluation.block`."""

    ids: Tensor
    x: Tensor
    label: Tensor
    """(B,) int64, the label that the goal speaks of."""
    clean: Tensor
    """(B, K), the net under test's logits of x."""
    x_pert: Tensor
    won: Tensor
    """(B,) bool."""
    counts: Tensor
    """(5, B) int64, of `query_counter.KINDS`."""


def other_nets(
    places: Sequence[str], dataset: Dataset, nets: Sequence[NamedNet] = ()
) -> tuple[OtherNet, ...]:
    """Load nets by their places, and take further ones; of equal names later ones are numbered.

    Raises:
        ConfigError, ModelError: see `OtherNet.read`.
    """
    read = [OtherNet.read(place, dataset) for place in places]
    for name, net in nets:
        if isinstance(net, ModelSpec):
            read.append(replace(OtherNet.read(net, dataset), name=name))
        else:
            read.append(OtherNet.given(name, net, dataset))
    found, taken = [], Counter[str]()
    for other in read:
        taken[other.name] += 1
        number = taken[other.name]
        found.append(replace(other, name=f"{other.name}-{number}") if number > 1 else other)
    return tuple(found)


def transfers(
    battery: Iterable[Attack], others: Iterable[OtherNet], threat: ThreatModel, tier: Tier | None
) -> tuple[Transfer, ...]:
    """The attacks that transfer from other nets, for each goal of a battery.

    Args:
        tier: whose APGDs each net's points are found by; None, for batteries without tiers: `full`.
    """
    goals: dict[Goal, Scope] = {}
    for attack in battery:
        if attack.goal in GOALS:
            everywhere = goals.get(attack.goal) == "all" or attack.scope == "all"
            goals[attack.goal] = "all" if everywhere else attack.scope
    tier = tier or "full"
    return tuple(
        Transfer(
            name=f"transfer-{other.name}",
            goal=goal,
            stages=tuple(map(_of_highest_loss, _gradient_stages(tier, goal, threat))),
            tier=tier,
            scope=scope,
            net=other.name,
            net_hash=other.hash,
        )
        for other in others
        for goal, scope in goals.items()
    )


def transfer(
    attempt: Attempt,
    attack: Transfer,
    others: Mapping[str, nn.Module],
    noise: Noise,
    judge: Callable[[], None],
) -> None:
    """Craft points on another net until one serves the goal on the net under test.

    Args:
        others: the nets by name.
        noise: of (data set, split).
        judge: asks the net under test about `attempt.x_pert`.
    """
    pred = attempt.clean.argmax(1)
    attempt.won = success(attack.goal, pred, pred, attempt.label)
    for stage in attack.stages:
        at = (~attempt.won).nonzero().flatten()
        if not len(at):
            return
        examples = ExampleNoise(noise, attempt.ids).select(at)
        net, x, label = others[attack.net], attempt.x[at], attempt.label[at]
        x_pert, passes = _crafted(net, x, label, stage, attack.goal, examples)
        stage.require_inside(x_pert, x)
        attempt.x_pert = attempt.x_pert.index_copy(0, at, x_pert)
        # Faults of the other net's gradients say nothing about the net under test.
        attempt.counts[:3, at] += passes[:3]
        judge()


def _crafted(
    net: nn.Module, x: Tensor, label: Tensor, stage: AttackStage, goal: Goal, examples: ExampleNoise
) -> tuple[Tensor, Tensor]:
    """(B, C, H, W) points that one search finds on another net, and the (5, B) passes it took."""
    with torch.no_grad():
        counted = QueryCounter(net, net(x))
    counted.counts[[0, 2]] += 1
    with checked_before():  # data sets hold pixels in [0, 1], and the labels were looked at
        x_pert = attack_spec(stage.config.search).run(
            counted,
            x,
            label,
            config=stage.config,
            goal=goal,
            loss=stage.loss,
            noise=examples.noise,
            ids=examples.ids,
        )
    return x_pert, counted.counts


def _gradient_stages(tier: Tier, goal: Goal, threat: ThreatModel) -> list[AttackStage]:
    return [s for s in TIERS[tier].stages(goal, threat) if s.config.search == "apgd"]


def _of_highest_loss(stage: AttackStage) -> AttackStage:
    return replace(stage, config=replace(stage.config, protocol="best_loss"))


def _spec_of(place: str) -> ModelSpec:
    if (folder := checkpoint_at(place)) is not None:
        spec = read_spec(folder)
        if runs_file(spec.factory):
            raise ConfigError(
                f"battery.transfer: checkpoint {place!r} would run {spec.factory!r}; if you trust "
                "that file, name a FILE.py:FUNCTION that loads the weights"
            )
        return spec
    if place in MODELS:
        raise ConfigError(
            f"battery.transfer must name nets with weights: a checkpoint's folder or "
            f"path/to/FILE.py:FUNCTION, got {place!r}"
        )
    try:
        return named_spec(place)
    except ConfigError as error:
        raise ConfigError(f"battery.transfer: {error}") from None


def _identity(net: nn.Module, dataset: Dataset, spec: ModelSpec | None) -> str:
    """Hash of a net that fits the data.

    Args:
        spec: by which it was built; None: it is in memory.

    Raises:
        ModelError: it does not take the images, or returns no finite logits of their classes.
    """
    _, x, _ = next(dataset.batches(ASKED))
    x = x.to(next((p.device for p in net.parameters()), x.device))
    logits = fits.logits_of(
        adapted(net, x), x, len(dataset.source.classes), data=dataset.source.name
    )
    file = None if spec is None else source_of(spec.factory)
    code = "" if file is None else f"{sha256(file)} {local_code(file)}"
    code += "" if spec is None or spec.origin is None else spec.origin.version
    digest = hashlib.sha256(f"{weights_hash(net)} {net} {code}".encode())
    digest.update(logits.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
