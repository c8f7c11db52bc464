"""Nets named on the command line, as in `--model resnet50 --weights FILE`, built for their data."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from fftune.config import DataSpec, ModelSpec, Split
from fftune.config.normalisation import DATA
from fftune.data.catalog import place_framed
from fftune.data.dataset import Dataset
from fftune.errors import ModelError
from fftune.models.loading import InputsNeededError, loaded

log = logging.getLogger(__name__)


def with_inputs(spec: ModelSpec, data: DataSpec, split: Split = "test") -> ModelSpec:
    """The net that `named_spec` describes, with the data's images if it is built for them.

    Args:
        data: of which one image is decoded for any net but a user's, which knows its own.

    Raises:
        DataError: the data are missing.
    """
    if ".py:" in spec.factory and spec.normalize != DATA:
        return spec
    return replace(spec, inputs=place_framed(data, split).inputs)


def load_for(spec: ModelSpec, dataset: Callable[[], Dataset]) -> tuple[nn.Module, ModelSpec]:
    """Load a net in eval mode, building it for the data's images if it needs to know them.

    Args:
        dataset: opens the data; not called for a net that is built without.

    Returns:
        The net, and its spec with all that it was built from.

    Raises:
        ModelError: the net cannot be built, its weights do not fit, or its source has the data's
            classes in another order.
    """
    try:
        found = loaded(spec)
    except InputsNeededError:
        found = loaded(replace(spec, inputs=dataset().inputs))
    if found.spec.origin is not None:
        log.info("%s: %s", found.spec.label, found.spec.origin.told)
    if found.classes:
        refuse_other_order(found.spec.factory, found.classes, dataset().source.classes)
    return found.net, found.spec


def refuse_other_order(net: str, ours: Sequence[str], theirs: Sequence[str]) -> None:
    """Compare class names of a net with the data's; names that differ in spelling tell nothing.

    Args:
        ours: of the net, in the order of its logits; of several synonyms the first counts.
        theirs: of the data, in the order of its labels.

    Raises:
        ModelError: names that both have stand for other labels.
    """
    places, labels = (
        {_spelled(name): i for i, name in enumerate(names)} for names in (ours, theirs)
    )
    shared = [name for name in places if name in labels]
    moved = [name for name in shared if places[name] != labels[name]]
    if len(ours) == len(theirs) and 2 * len(shared) >= len(theirs) and moved:
        name = moved[0]
        raise ModelError(
            f"net {net!r} has its classes in another order than the data: {name!r} is its class "
            f"{places[name]}, and label {labels[name]} of the data ({len(moved)} differ); load it "
            "in a FILE.py:FUNCTION that sorts its logits"
        )
    if not shared:
        log.info("class names of the net (%s, ...) and of the data (%s, ...) cannot be compared: "
                 "their order is taken to be the same", ours[0], theirs[0])  # fmt: skip


def _spelled(name: str) -> str:
    return name.partition(",")[0].casefold().replace("_", " ").replace("-", " ").strip()
