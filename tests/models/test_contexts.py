"""Why CUDA cannot be used is told in one line."""

import pytest
import torch

from fftune.errors import ConfigError
from fftune.models import device_of


@pytest.mark.parametrize(
    ("error", "build", "told"),
    [
        (
            "The NVIDIA driver on your system is too old (found version 11040). Please update ...",
            "13.0",
            "the NVIDIA driver is too old: it knows CUDA 11.4, torch 2.99 was built for 13.0; "
            "update the driver, or install a torch for 11.4",
        ),
        (
            "Found no NVIDIA driver on your system. Please check ...",
            "13.0",
            "there is no NVIDIA driver, and no CUDA device",
        ),
        ("No CUDA GPUs are available", "13.0", "there is no CUDA device"),
        ("", None, "this torch was built without CUDA"),
    ],
)
def test_why_there_is_no_cuda(monkeypatch, error: str, build: str | None, told: str) -> None:
    def init() -> None:
        raise RuntimeError(error)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch, "__version__", "2.99")
    with pytest.raises(ConfigError) as refused:
        device_of("cuda")
    assert str(refused.value) == f"device must be one that torch sees; {told}"
    assert device_of("auto") == "cpu"
