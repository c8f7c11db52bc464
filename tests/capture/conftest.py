import sys

import pytest

from fftune.capture import use
from fftune.capture.store import Store
from fftune.capture.tape import Tape


@pytest.fixture(autouse=True)
def store(monkeypatch) -> Store:
    """A store of this test alone."""
    store = Store()
    monkeypatch.setattr(sys.modules["fftune.capture.captured"], "_STORE", store)
    monkeypatch.delenv("FFTUNE_CAPTURE", raising=False)
    return store


@pytest.fixture
def tape():
    """A tape that records inside the test."""
    tape = Tape()
    with use(tape):
        yield tape
