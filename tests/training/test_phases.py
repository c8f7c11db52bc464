"""The stream of a run's examples, phase after phase."""

from dataclasses import replace

import pytest

from fftune import recipes
from fftune.config import Phase, TrainConfig
from fftune.errors import ConfigError, DataError
from fftune.training.distributed import ProcessGroup
from fftune.training.phases import EpochStream, open_data, open_stream

SET = "synthetic:shape=3x8x8,classes=5,train=60,test=10,seed={}"


def two_phases() -> TrainConfig:
    """Of one epoch each, over 50 examples."""
    config = recipes.thrm("tiny").base
    data = replace(config.data, name=SET.format(1), train_size=50, validation_size=10)
    phases = tuple(Phase(epochs=1, batch_size=10, data=SET.format(seed)) for seed in (1, 2))
    optimizer = replace(config.optimizer, epochs=2)
    return replace(config, data=data, phases=phases, optimizer=optimizer)


@pytest.fixture
def stream() -> EpochStream:
    return open_stream(two_phases(), ProcessGroup(), device="cpu")


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


@pytest.mark.parametrize(
    ("size", "every", "opened"), [(0, None, False), (10, None, True), (10, 0, False), (10, 1, True)]
)
def test_what_phases_are_made_of_is_opened_where_it_validates(
    size, every, opened, tmp_path, monkeypatch
) -> None:
    """FastAT's three sizes of ImageNet are files of their own, beside which nothing may lie."""
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    config = two_phases()
    data = replace(config.data, name="imagenet", validation_size=size)
    config = replace(config, data=data, validate_every=every)
    if opened:
        with pytest.raises(DataError, match="data set 'imagenet' is not in"):
            open_data(config)
    else:
        assert open_data(config).validation is None


def test_validation_without_images_is_refused() -> None:
    config = two_phases()
    config = replace(config, data=replace(config.data, validation_size=0), validate_every=1)
    with pytest.raises(ConfigError, match="validate_every"):
        open_data(config)
