import pytest
import torch

from fftune import keyed_noise
from fftune.data.sampler import epoch_order, is_padding, marked, share
from fftune.keyed_noise import Noise

NOISE = Noise(0).fold("train", "digits")


def test_an_order_is_the_epochs_own() -> None:
    orders = [epoch_order(50, NOISE, epoch) for epoch in (0, 1, 0)]
    assert torch.equal(orders[0], orders[2]) and not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], NOISE.fold("order", 1).permutation(50))


def test_an_order_is_the_same_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = epoch_order(1000, NOISE, 3)
    assert epoch_order(1000, NOISE, 3, "meta").device.type == "meta"
    monkeypatch.setattr(keyed_noise, "_by_numpy", lambda _ids: False)
    assert torch.equal(epoch_order(1000, NOISE, 3), expected)


def test_shares_by_hand() -> None:
    order = torch.tensor([5, 3, 8, 1, 2])
    mine, marks = share(order, 1, 3, pad=False)
    assert mine.tolist() == [3, 2] and marks.tolist() == [False, False]
    for rank, expected in enumerate(([5, 1], [3, 2], [8, 8])):
        mine, marks = share(order, rank, 3, pad=True)
        assert mine.tolist() == expected and marks.tolist() == [False, rank == 2]


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(("count", "ranks"), [(0, 2), (1, 3), (2, 5), (6, 3), (7, 4)])
def test_shares_cover_an_epoch_once_on_any_device(count: int, ranks: int, pad: bool) -> None:
    order = epoch_order(count, NOISE, 0)
    shares = [share(order, rank, ranks, pad=pad) for rank in range(ranks)]
    covered = torch.cat([mine[~marks] for mine, marks in shares])
    assert covered.sort().values.tolist() == list(range(count))
    lengths = {len(mine) for mine, _ in shares}
    assert max(lengths) - min(lengths) <= (0 if pad else 1)
    for rank, (mine, marks) in enumerate(shares):
        assert is_padding(marked(mine, marks)).tolist() == marks.tolist()
        there = share(order.to("meta"), rank, ranks, pad=pad)
        assert [t.device.type for t in there] == ["meta", "meta"]
        assert [t.shape for t in there] == [mine.shape, marks.shape]
