"""Tests of this folder need a CUDA device: each has the mark `cuda` and is skipped without one."""

import sys
from pathlib import Path

import pytest
import torch

from fftune.capture.store import Store

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = not torch.cuda.is_available()
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cuda)
            if missing:
                item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(autouse=True)
def store(monkeypatch) -> Store:
    """A store of this test alone, and arithmetic that gives equal bits when it is repeated."""
    store = Store()
    monkeypatch.setattr(sys.modules["fftune.capture.captured"], "_STORE", store)
    monkeypatch.delenv("FFTUNE_CAPTURE", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    return store


@pytest.fixture
def plain(monkeypatch):
    """Run something without recordings."""

    def run(call):
        with monkeypatch.context() as patch:
            patch.setenv("FFTUNE_CAPTURE", "off")
            return call()

    return run
