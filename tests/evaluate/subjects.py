"""Nets as the driver hands them to a block."""

from torch import nn

from fftune.data import Dataset
from fftune.evaluate.block import Subject


def subject_of(net: nn.Module, data: Dataset, **more: nn.Module) -> Subject:
    columns = {"dataset_hash": data.hash(), "split": data.split, "model_hash": "m"}
    search_net = more.get("search_net", net)
    classes = len(data.source.classes)
    return Subject(net=net, search_net=search_net, classes=classes, columns=columns)
