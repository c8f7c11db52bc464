import math
from dataclasses import asdict

import pandas as pd
import pytest
import torch

from fftune.training.history import EpochRecord, read_history, write_history
from fftune.training.totals import EpochTotals
from fftune.training.train import train
from tests.training.tinies import tiny


def test_sums_become_means_and_shares() -> None:
    totals = EpochTotals(losses=torch.zeros(3), right=torch.zeros(()), lr=0.2)
    totals.add(torch.tensor(6.0), torch.tensor(3))
    totals.add(torch.tensor(2.0), torch.tensor(1))
    totals.seconds, totals.waited = 4.0, 1.0
    assert totals.record(7, 8) == EpochRecord(
        epoch=7,
        lr=0.2,
        loss=1.0,
        accuracy=0.5,
        seconds=4.0,
        examples_per_second=2.0,
        data_wait=0.25,
        validation_accuracy=pytest.approx(math.nan, nan_ok=True),
        robust_accuracy=pytest.approx(math.nan, nan_ok=True),
    )


def test_the_share_is_part_of_the_history_and_unknown_in_old_ones(tmp_path) -> None:
    history = train(tiny(epochs=2)).history
    assert all(0 < epoch.data_wait < 1 for epoch in history)
    write_history(history, tmp_path / "new.parquet")
    assert [e.data_wait for e in read_history(tmp_path / "new.parquet")] == [
        e.data_wait for e in history
    ]
    columns = [{k: v for k, v in asdict(e).items() if k != "data_wait"} for e in history]
    pd.DataFrame(columns).to_parquet(tmp_path / "old.parquet")
    assert all(math.isnan(e.data_wait) for e in read_history(tmp_path / "old.parquet"))
