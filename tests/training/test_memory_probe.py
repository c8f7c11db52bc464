"""The first steps of the largest phase, as a probe of memory takes them; here on a CPU."""

from dataclasses import replace

import pytest

from fftune import recipes
from fftune.config import Phase, TrainConfig
from fftune.training import memory_probe
from fftune.training.memory_probe import STEPS, take_steps
from fftune.training.step import Stepper

SET = "synthetic:shape=3x16x16,classes=10,train=400,test=10"


@pytest.fixture
def sizes(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the batches that are trained on."""
    found = []
    step = Stepper.__call__

    def counted(self, batch, **rest):
        found.append(tuple(batch[1].shape))
        return step(self, batch, **rest)

    monkeypatch.setattr(Stepper, "__call__", counted)
    return found


@pytest.fixture
def config() -> TrainConfig:
    base = recipes.thrm("tiny").base
    data = replace(base.data, name=SET, train_size=None, validation_size=0)
    optimizer = replace(base.optimizer, batch_size=20, epochs=3)
    attack = replace(base.attack, steps=1)
    return replace(base, lam=1.0, data=data, optimizer=optimizer, attack=attack, validate_every=0)


def test_a_few_steps_of_full_batches_are_taken(config, sizes) -> None:
    take_steps(config, "cpu")
    assert sizes == [(20, 3, 16, 16)] * STEPS


def test_fewer_where_an_epoch_has_fewer(config, sizes) -> None:
    take_steps(replace(config, optimizer=replace(config.optimizer, batch_size=200)), "cpu")
    assert sizes == [(200, 3, 16, 16)] * 2


def test_one_process_of_several_takes_its_share(config, sizes) -> None:
    take_steps(replace(config, workers=4), "cpu")
    assert sizes == [(5, 3, 16, 16)] * STEPS


def test_the_phase_with_the_most_pixels(config, sizes) -> None:
    """60 images of 16 by 16 are more than 100 of 8 by 8."""
    phases = (
        Phase(epochs=1, batch_size=100, data=SET.replace("16x16", "8x8")),
        Phase(epochs=1, batch_size=60, data=SET),
        Phase(epochs=1, batch_size=50, data=SET),
    )
    take_steps(replace(config, phases=phases), "cpu")
    assert sizes == [(60, 3, 16, 16)] * STEPS


def test_the_peak_is_the_allocators_and_what_is_beside_it(monkeypatch) -> None:
    """10 of 80 are not free; 6 are the allocator's now, which had 30."""
    cuda = memory_probe.torch.cuda
    monkeypatch.setattr(cuda, "mem_get_info", lambda: (70, 80))
    monkeypatch.setattr(cuda, "memory_reserved", lambda: 6)
    monkeypatch.setattr(cuda, "max_memory_reserved", lambda: 30)
    monkeypatch.setattr(cuda, "get_device_name", lambda: "C")
    assert memory_probe.peak_memory() == (34, 80, "C")
