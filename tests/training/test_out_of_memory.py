"""Errors that say that memory was too small, and what a training says then."""

import weakref
from dataclasses import replace

import pytest
import torch

from fftune import recipes
from fftune.errors import OutOfMemoryError
from fftune.training.last_words import leave, left
from fftune.training.out_of_memory import free_memory, ran_out, within_memory

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB."


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError(CUDA), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."), True),
        (OutOfMemoryError("too small"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("out of memory"), False),
        (RuntimeError("shapes do not fit"), False),
    ],
)
def test_errors_that_mean_it(error: Exception, expected: bool) -> None:
    assert ran_out(error) is expected
    wrapped = ValueError("the net failed")
    wrapped.__cause__ = error
    assert ran_out(wrapped) is expected


def test_the_cpus_own_error_means_it() -> None:
    with pytest.raises(RuntimeError) as failed:
        torch.empty(2**50)
    assert ran_out(failed.value)


def test_a_training_names_accumulate_and_what_it_changes() -> None:
    config = recipes.thrm("tiny").base
    with pytest.raises(OutOfMemoryError) as refused, within_memory(config):
        raise torch.OutOfMemoryError(CUDA)
    assert str(refused.value) == (
        "out of memory, 2.00 GiB more were asked for: optimizer.accumulate > 1 computes a batch in "
        "more parts; BatchNorm then sees smaller batches, which changes the result"
    )


def test_a_device_too_small_for_one_example() -> None:
    config = recipes.thrm("tiny").base
    size = config.optimizer.batch_size
    single = replace(config, optimizer=replace(config.optimizer, accumulate=size))
    with pytest.raises(OutOfMemoryError) as refused, within_memory(single):
        raise torch.OutOfMemoryError(CUDA)
    assert str(refused.value) == (
        "out of memory, 2.00 GiB more were asked for: it is too small for one example of model "
        f"{config.model!r}, and optimizer.accumulate cannot cut a batch of {size} further"
    )


def test_what_an_error_holds_is_given_back() -> None:
    class Large:
        """Stands for a tensor."""

    alive = weakref.WeakSet()

    def step() -> None:
        tensor = Large()
        alive.add(tensor)
        raise MemoryError

    try:
        with within_memory(recipes.thrm("tiny").base):
            step()
    except OutOfMemoryError as error:
        assert len(alive) == 1
        free_memory(error)
        assert len(alive) == 0


def test_a_worker_of_several_leaves_its_words_to_the_driver(tmp_path) -> None:
    leave(OutOfMemoryError("too small"), tmp_path)
    failure = left(tmp_path)
    assert isinstance(failure, OutOfMemoryError)
    assert str(failure) == "too small" and ran_out(failure)


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="^no$"), within_memory(recipes.thrm("tiny").base):
        raise ValueError("no")
