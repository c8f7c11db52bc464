from typing import Any

import torch
from torch import Tensor

from fftune.capture.upload import upload


class Recorded(Tensor):
    """A tensor that writes down how it is moved, and stays where it is."""

    calls: list[Any]

    def pin_memory(self, *_: Any) -> "Recorded":
        self.calls.append("pinned")
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((args, kwargs))
        return self


def test_values_are_where_they_are_wanted() -> None:
    values = torch.arange(3)
    assert upload(values, torch.device("cpu")) is values
    assert upload(values, torch.device("meta")).device.type == "meta"


def test_a_gpu_gets_pinned_memory_and_nobody_waits() -> None:
    values = torch.arange(3).as_subclass(Recorded)
    values.calls = []
    upload(values, torch.device("cuda", 1))
    assert values.calls == ["pinned", ((torch.device("cuda", 1),), {"non_blocking": True})]
