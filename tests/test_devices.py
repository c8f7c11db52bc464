"""Sizes that follow a device, and how they shrink."""

from dataclasses import replace

import pytest

from fftune import devices
from fftune.devices import CPU, CUDA, narrow, policy


@pytest.mark.parametrize(
    ("values", "rows"),
    [(64, 4096), (3 * 32 * 32, 4096), (3 * 64 * 64, 1024), (3 * 128 * 128, 256),
     (3 * 224 * 224, 128), (0, 4096)],
)  # fmt: skip
def test_a_full_batch_holds_as_many_values_whatever_the_size_of_images(values, rows) -> None:
    assert CUDA.full(values) == rows
    assert CPU.full(values) == 128


def test_only_where_shapes_are_few_more_examples_than_a_batch_holds_go_one_after_another() -> None:
    assert (CUDA.most(3072, 5000), CUDA.most(3072, 10), CUDA.most(3 * 224 * 224, 256)) == (
        *(4096, 10, 128),
    )
    assert CPU.most(3072, 5000) == 5000


def test_a_device_is_narrowed_to_half_down_to_the_width_of_a_cpu(monkeypatch) -> None:
    monkeypatch.setitem(devices._POLICIES, "cuda", replace(CUDA, width=300))
    assert narrow("cuda") and policy("cuda") == replace(CUDA, width=150)
    assert narrow("cuda") and policy("cuda").width == 128
    assert not narrow("cuda") and policy("cuda").width == 128
    before = policy("cpu")
    assert not narrow("cpu") and not narrow("a type nobody has measured")
    assert policy("cpu") is before


def test_rows_go_into_the_least_bucket_that_holds_them() -> None:
    assert [CUDA.bucket(rows) for rows in (1, 32, 33, 4096, 5000)] == [32, 32, 64, 4096, 5000]
    assert CPU.bucket(33) == 33
