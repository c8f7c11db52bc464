"""Two processes that train one net together take the steps of one alone."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from fftune.config import TrainConfig
from fftune.models import weights_hash
from fftune.training.distributed import ProcessGroup
from fftune.training.history import read_history
from fftune.training.phases import open_stream
from fftune.training.step import Stepper
from fftune.training.train import train
from tests.training.tinies import tiny

FACTORY = f"{Path(__file__).with_name('user_net.py')}:plain"


def config_of(workers: int) -> TrainConfig:
    """25 epochs of 2 steps, the last step of each with fewer examples: 30 = 15 + 15, or 30."""
    config = tiny("thrm", epochs=25, lam=5.0, model=FACTORY, workers=workers)
    return replace(
        config,
        data=replace(config.data, train_size=91),
        optimizer=replace(config.optimizer, batch_size=50),
    )


class CrashError(Exception):
    """Stands for a crash."""


def _one_of_two(rank: int, folder: Path) -> None:
    """What each process does: it crashes in the middle of the fourth epoch, and goes on."""
    dist.init_process_group(
        "gloo", rank=rank, world_size=2, init_method=f"file://{folder / 'meeting'}"
    )
    original, steps = Stepper.__call__, iter(range(7))

    def fails(self, *args, **settings):
        if next(steps, None) is None:
            raise CrashError
        return original(self, *args, **settings)

    Stepper.__call__ = fails
    with pytest.raises(CrashError):
        train(config_of(2), folder=folder, save_seconds=0)
    Stepper.__call__ = original
    checkpoint = train(config_of(2), folder=folder)
    (folder / f"hash-{rank}").write_text(weights_hash(checkpoint.model))
    dist.destroy_process_group()
    # A DDP net that lives on keeps gloo's threads, and they may abort an interpreter that ends
    # (pytorch/pytorch#179291); all of the work is on the disk.
    os._exit(0)


def test_two_processes_give_the_losses_of_one(tmp_path) -> None:
    """No BatchNorm in the net, the same 50 steps: losses differ by rounding alone."""
    alone = train(config_of(1))
    # What is imported here need not be imported there.
    mp.start_processes(_one_of_two, (tmp_path,), nprocs=2, start_method="fork")
    together = read_history(tmp_path / "history.parquet")
    assert len(together) == 25
    for a, b in zip(alone.history, together, strict=True):
        assert abs(a.loss - b.loss) <= 1e-5  # half of an epoch counted twice makes 3.5e-5
    assert abs(alone.history[-1].accuracy - together[-1].accuracy) <= 1.5 / 91
    assert (tmp_path / "hash-0").read_text() == (tmp_path / "hash-1").read_text()


@pytest.mark.parametrize(("examples", "batch", "ranks"), [(91, 50, 2), (100, 50, 2), (61, 60, 3)])
def test_shares_add_up_to_every_step(examples: int, batch: int, ranks: int) -> None:
    """Each example once an epoch; the same examples in each step as alone; shares as announced."""
    config = tiny()
    config = replace(
        config,
        data=replace(config.data, train_size=examples),
        optimizer=replace(config.optimizer, batch_size=batch),
    )
    alone = open_stream(config, ProcessGroup(), device="cpu")
    feeds = [
        open_stream(config, ProcessGroup(rank=r, size=ranks), device="cpu") for r in range(ranks)
    ]
    steps = zip(alone.batches(2), *(feed.batches(2) for feed in feeds), strict=True)
    for step, (whole, *shares) in enumerate(steps):
        kept = []
        for feed, (ids, _, _) in zip(feeds, shares, strict=True):
            mine, everybody = feed.share(2, step)
            assert everybody == len(whole[0])
            assert (ids[:mine] >= 0).all()
            assert (ids[mine:] < 0).all()
            kept += ids[:mine].tolist()
        assert sorted(kept) == sorted(whole[0].tolist())
    assert step + 1 == alone.steps(2) == feeds[-1].steps(2)


def test_alone_all_of_it_is_free() -> None:
    group, model = ProcessGroup.current(), torch.nn.Linear(1, 1)
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert group.wrap(model, "cpu") is model
    assert group.leaders("word") == "word"
    assert group.total(torch.tensor(3.0)) == 3
