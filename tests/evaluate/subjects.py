"""Nets as the driver hands them to a block."""

from torch import Tensor, nn

from fftune.data import Dataset
from fftune.evaluate.block import Subject
from fftune.models import search_copy


def subject_of(net: nn.Module, data: Dataset, *, search_net: nn.Module | None = None) -> Subject:
    twin = search_copy(net, "fp32", few(data))
    return Subject(
        net=net,
        twin=twin,
        search_net=twin if search_net is None else search_net,
        classes=len(data.source.classes),
        columns={"dataset_hash": data.hash(), "split": data.split, "model_hash": "m"},
    )


def few(data: Dataset) -> Tensor:
    return next(data.batches(4))[1]
