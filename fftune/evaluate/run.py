"""From a net and a split to rows, a block at a time."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import torch
from torch import Tensor, nn

from fftune.config import (
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    ModelSpec,
    Split,
    ThreatModel,
)
from fftune.data import Dataset
from fftune.data.catalog import place_framed
from fftune.defenses import refuse_without_gradients
from fftune.errors import ModelError
from fftune.evaluate.aware import aware_probes
from fftune.evaluate.battery import Probe, canary, probes
from fftune.evaluate.block import Subject, attack_block, logits_of
from fftune.evaluate.defended import Guard
from fftune.evaluate.tiers import CANARY
from fftune.models import device_of, eval_mode, load_model, search_copy, torch_threads, weights_hash
from fftune.noise import Noise
from fftune.outcomes import Outcomes
from fftune.risk import Rate

log = logging.getLogger(__name__)

HEDGED_ON = 32
"""Examples whose gradients are looked at before a hedge is believed in."""


def evaluate(
    model: ModelSpec,
    data: DataSpec,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split,
    defense: DefenseConfig | None = None,
) -> Outcomes:
    """Attack every example of a split with every probe of a battery.

    Raises:
        ModelError: the net cannot be built, does not take the data's images, does not return
            finite logits of its classes, a row an example, or has no gradients.
        ConfigError: the device does not exist.
    """
    net = load_model(model)  # first: it fails at once, where images take their time
    dataset = sample(data, split, battery.examples)
    return judge(net, dataset, battery, threat=threat, defense=defense)


def sample(data: DataSpec, split: Split, examples: int | None) -> Dataset:
    """So many examples of a split, evenly spread over its ids, as many sets are sorted by class.

    Only they are decoded. None is all.
    """
    part, rows = place_framed(data, split)
    if examples is not None and examples < len(rows):
        rows = rows[torch.arange(examples) * len(rows) // examples]
    return part.read(rows, split)


def judge(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    chosen: Sequence[Probe] | None = None,
    defense: DefenseConfig | None = None,
) -> Outcomes:
    """`evaluate` for a net and a data set in memory. The net is given back as it was.

    The ensembles' tier is decided once, for the whole set: `standard` becomes `full` where the
    canary finds something that the gradient searches missed, or where gradients vanish.

    Args:
        chosen: some of the battery's probes; default all of them.
        defense: defences under which all is scored too; attackers who know them then join the
            battery.

    Raises:
        ModelError: a defence is to follow the gradients of a net that has none.
    """
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    with eval_mode(net), torch_threads(battery.threads):
        subject = _subject(net, dataset, battery)
        _try_out(subject, dataset)
        if chosen is None:
            chosen = probes(battery, threat, classes=subject.classes)
        guard = Guard.of(
            defense or DefenseConfig(),
            threat,
            source=dataset.source.name,
            split=dataset.split,
            attacks=len(chosen),
        )
        if guard is not None:
            _refuse_unhedgeable(subject, dataset, guard)
            subject = replace(subject, guard=guard)
            chosen = (*chosen, *aware_probes(chosen, guard, threat))
        tables = {p: _attack(subject, dataset, p, battery, noise) for p in chosen}
        for probe in chosen:
            if probe.tier == "standard":
                tables |= _canary(subject, dataset, tables, probe, battery, noise)
    outcomes = Outcomes.of(table for parts in tables.values() for table in parts)
    _refuse_flat(outcomes)
    if any(probe.scope == "all" for probe in chosen):
        _doubt_chance(outcomes, subject.classes)
    return outcomes


def attacked(
    net: nn.Module,
    dataset: Dataset,
    battery: BatteryConfig,
    chosen: Sequence[Probe],
    *,
    guard: Guard | None = None,
) -> Outcomes:
    """The rows of some probes, whatever they are like: no result is refused or searched again.

    Raises:
        ModelError: the net does not take the images, or does not return logits of their classes.
    """
    noise = Noise(battery.seed).fold(dataset.source.name, dataset.split)
    with eval_mode(net), torch_threads(battery.threads):
        subject = replace(_subject(net, dataset, battery), guard=guard)
        _try_out(subject, dataset)
        tables = [t for p in chosen for t in _attack(subject, dataset, p, battery, noise)]
    return Outcomes.of(tables)


def _subject(net: nn.Module, dataset: Dataset, battery: BatteryConfig) -> Subject:
    columns = {"dataset_hash": dataset.hash(), "split": dataset.split}
    columns["model_hash"] = weights_hash(net)
    device = device_of(battery.device)
    net = net.to(device)
    return Subject(
        net=net,
        search_net=search_copy(net, battery.precision),
        classes=len(dataset.source.classes),
        columns=columns,
        device=device,
    )


def _try_out(subject: Subject, dataset: Dataset) -> None:
    """Ask the net about one image, so that a net for other images is refused in one line.

    Raises:
        ModelError: its `forward` fails, or does not return finite logits of the data's classes.
    """
    _, x, _ = next(dataset.batches(1))
    try:
        logits_of(subject, x.to(subject.device))
    except (ModelError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever the user's code raises
        shape = " x ".join(map(str, dataset.shape))
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"net does not take images of {shape}: {reason}") from error


def _doubt_chance(outcomes: Outcomes, classes: int) -> None:
    """Say so where the clean net is no better than a guess: images or scaling may be others'."""
    frame = outcomes.to_pandas().drop_duplicates("id")
    right = Rate(int((frame["pred_clean"] == frame["y"]).sum()), len(frame))
    if right.n and right.interval[0] <= 1 / classes:
        log.warning(
            "clean accuracy %s is no better than chance, 1 of %d: are these the net's images, "
            "in [0, 1], its labels in this order, and its normalisation inside it?",
            right,
            classes,
        )


def _refuse_unhedgeable(subject: Subject, dataset: Dataset, guard: Guard) -> None:
    if any(config.steps for config in guard.hedges.values()):
        _, x, _ = next(dataset.batches(HEDGED_ON))
        refuse_without_gradients(subject.net, x.to(subject.device))


def _attack(
    subject: Subject, dataset: Dataset, probe: Probe, battery: BatteryConfig, noise: Noise
) -> list[pa.Table]:
    """One probe on every block."""
    goal = probe.goal if probe.target is None else f"{probe.goal} at class {probe.target}"
    log.info("%s, goal %s, tier %s: %d examples", probe.attack, goal, probe.tier, len(dataset))
    return [
        table
        for block in dataset.batches(battery.block_size)
        for table in _within_memory(subject, block, probe, noise)
    ]


def _within_memory(
    subject: Subject, block: tuple[Tensor, Tensor, Tensor], probe: Probe, noise: Noise
) -> Iterator[pa.Table]:
    """The block's rows; where memory does not suffice, in two halves, which is said and kept."""
    try:
        yield attack_block(subject, block, probe, noise=noise)
        return
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        half = (len(block[0]) + 1) // 2
        if half == len(block[0]) or not _is_out_of_memory(error):
            raise
    log.warning("out of memory with %d examples a block; going on with %d", len(block[0]), half)
    for part in zip(*(whole.split(half) for whole in block), strict=True):
        for table in _within_memory(subject, part, probe, noise):
            status = [f"{s}, block of {half}" for s in table["status"].to_pylist()]
            at = table.schema.get_field_index("status")
            column = pa.array(status).cast(table.schema.field(at).type)
            yield table.set_column(at, table.schema.field(at), column)


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch's CPU allocator raises a plain RuntimeError."""
    named = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return named or "allocate memory" in str(error) or "not enough memory" in str(error)


def _canary(
    subject: Subject,
    dataset: Dataset,
    tables: dict[Probe, list[pa.Table]],
    probe: Probe,
    battery: BatteryConfig,
    noise: Noise,
) -> dict[Probe, list[pa.Table]]:
    """Try FAB and Square on a fixed few survivors; the whole set at `full` if that helps."""
    frame = Outcomes.of(tables[probe]).where(defense="none").to_pandas()
    survivors = torch.tensor(frame.loc[~frame["success"], "id"].to_numpy())
    draw = noise.fold("canary").uniform(survivors, (1,)).flatten()
    chosen = survivors[draw.argsort()[:CANARY]]
    few = dataset.select(torch.isin(dataset.ids, chosen).nonzero().flatten(), dataset.split)
    tried = canary(probe)
    found = _attack(subject, few, tried, battery, noise) if len(few) else []
    wins = int(Outcomes.of(found).where(defense="none").to_pandas()["success"].sum())
    flat = int((frame["status"].str.startswith("zero-gradient")).sum())
    log.info("canary: FAB and Square found %d of %d survivors", wins, len(few))
    if not wins and not flat:
        return {tried: found}
    log.warning("tier full: canary found %d, %d examples without gradients", wins, flat)
    (full,) = (
        p
        for p in probes(battery, probe.config.threat, tier="full")
        if p.goal == probe.goal and p.tier == "full" and len(p.parts) > 1
    )
    again = _attack(subject, dataset, full, battery, noise)
    return {probe: [], tried: found, full: again}


def _refuse_flat(outcomes: Outcomes) -> None:
    """A net without gradients looks robust to every search that follows them.

    Only what holds a search without gradients can still be scored: the canary, and ensembles at
    full length.

    Raises:
        ModelError: some other attack found all gradients of all examples to be zero.
    """
    frame = outcomes.to_pandas()
    ensemble = frame["attack"].isin(["strong", "autoattack"]) & (frame["tier"] == "full")
    frame = frame[~ensemble & (frame["attack"] != "canary")]
    flat = frame["status"].str.startswith("zero-gradient")
    for attack, share in flat.groupby(frame["attack"].astype(str)).mean().items():
        if share == 1:
            raise ModelError(f"net's gradients are zero everywhere: {attack} cannot be scored")
