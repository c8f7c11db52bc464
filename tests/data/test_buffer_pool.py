import torch

from fftune.data.buffer_pool import BufferPool


def test_memory_comes_back_when_nobody_holds_it() -> None:
    buffers = BufferPool()
    first = buffers.take((3, 5), torch.float32)
    place = first.data_ptr()
    assert first.shape == (3, 5) and first.is_contiguous() and place % 64 == 0
    del first
    assert buffers.take((2, 5), torch.float32).data_ptr() == place


def test_memory_that_somebody_holds_is_never_given_again() -> None:
    """Through a view, a numpy view of a view, or a gradient's saved tensor."""
    ways = [
        lambda x: x[1:].view(-1),
        lambda x: x[1:].numpy()[1:],
        lambda x: (x * torch.ones(4, 4, requires_grad=True)).sum(),  # saves x for its backward
    ]
    for way in ways:
        buffers = BufferPool()
        x = buffers.take((4, 4), torch.float32)
        place, held = x.data_ptr(), way(x)
        del x
        assert buffers.take((4, 4), torch.float32).data_ptr() != place
        del held
        assert place in {buffers.take((4, 4), torch.float32).data_ptr() for _ in range(2)}


def test_little_is_kept() -> None:
    buffers = BufferPool(spare=2)
    held = [buffers.take((100,)) for _ in range(10)]
    del held
    assert len(buffers._spare) == 2
    assert buffers.take((200,)).numel() == 200  # more than is kept
