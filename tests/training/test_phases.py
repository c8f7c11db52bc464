"""The stream of a run's examples, phase after phase."""

from dataclasses import replace

import pytest

from fftune import recipes
from fftune.config import Phase
from fftune.training.distributed import ProcessGroup
from fftune.training.phases import EpochStream, open_stream

SET = "synthetic:shape=3x8x8,classes=5,train=60,test=10,seed={}"


@pytest.fixture
def stream() -> EpochStream:
    """Two phases of one epoch each, over 50 examples."""
    config = recipes.thrm("tiny").base
    data = replace(config.data, name=SET.format(1), train_size=50, validation_size=10)
    phases = tuple(Phase(epochs=1, batch_size=10, data=SET.format(seed)) for seed in (1, 2))
    optimizer = replace(config.optimizer, epochs=2)
    config = replace(config, data=data, phases=phases, optimizer=optimizer)
    return open_stream(config, ProcessGroup(), device="cpu")


def test_waiting_is_added_up_over_phases(stream: EpochStream) -> None:
    first, second = stream.loaders
    assert stream.waited == 0.0
    list(stream.batches(1))
    assert stream.waited == first.waited > 0.0 == second.waited
    list(stream.batches(2))
    assert stream.waited == first.waited + second.waited > first.waited


def test_each_epoch_has_the_examples_of_its_phase(stream: EpochStream) -> None:
    assert [stream.phase(epoch) for epoch in (1, 2)] == [0, 1]
    for epoch in (1, 2):
        ids = [i for batch in stream.batches(epoch) for i in batch[0].tolist()]
        assert len(ids) == len(set(ids)) == 50
    assert [stream.source(epoch) for epoch in (1, 2)] == [
        loader.part.source.name for loader in stream.loaders
    ]
