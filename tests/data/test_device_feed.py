import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fftune.data.buffer_pool import BufferPool
from fftune.data.device_feed import AHEAD, fed, link_to
from tests.data.late_link import LateLink

SHAPE = (4, 3, 2, 2)


def decoded(link: LateLink, count: int, made: list[int] | None = None) -> Iterator[Tensor]:
    """Batches of one value each, in pinned memory that is used again."""
    pool = BufferPool(link.pinned)
    for i in range(count):
        if made is not None:
            made.append(i)
        yield pool.take(SHAPE).fill_(i)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 20])
def test_every_batch_arrives_as_it_was_decoded(count: int) -> None:
    link = LateLink()
    found = [int(batch[0, 0, 0, 0]) for batch in fed(decoded(link, count), count, link)]
    assert found == list(range(count))
    assert not link.copies


def test_a_batch_on_the_host_is_let_go_when_it_has_been_copied() -> None:
    link = LateLink()
    for _ in fed(decoded(link, 40), 40, link):
        pass
    assert len(link.given) <= AHEAD + 2  # one a slot, and one that is being decoded


def test_the_next_batches_are_copied_while_one_is_computed_on() -> None:
    link, made = LateLink(), list[int]()
    batches = fed(decoded(link, 9, made), 9, link)
    next(batches)
    copied = threading.Event()
    for _ in range(100):
        if len(made) == AHEAD + 1:
            break
        copied.wait(0.01)
    assert made == list(range(AHEAD + 1))
    batches.close()
    assert not link.copies  # nothing is written to memory that was given away


def test_a_smaller_last_batch_and_another_size_are_as_they_are() -> None:
    link = LateLink()
    sizes = [(4, 3, 2, 2), (4, 3, 2, 2), (4, 3, 2, 2), (1, 3, 2, 2), (2, 3, 5, 4), (6, 3, 5, 4)]
    sources = [torch.full(size, i, dtype=torch.uint8) for i, size in enumerate(sizes)]
    found = [batch.clone() for batch in fed(iter(sources), len(sizes), link)]
    assert all(torch.equal(a, b) for a, b in zip(found, sources, strict=True))


def test_channels_that_lie_last_stay_so() -> None:
    source = torch.arange(48, dtype=torch.uint8).view(4, 2, 2, 3).permute(0, 3, 1, 2)
    (found,) = fed(iter([source]), 1, LateLink())
    assert torch.equal(found, source) and found.stride() == source.stride()


def test_an_error_of_the_decoder_is_raised() -> None:
    def broken() -> Iterator[Tensor]:
        yield torch.zeros(SHAPE, dtype=torch.uint8)
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(fed(broken(), 2, LateLink()))


def test_a_cpu_needs_no_way() -> None:
    assert link_to(torch.device("cpu")) is None
