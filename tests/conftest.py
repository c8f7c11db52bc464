import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tests import patience

# Before torch is imported: rows are equal to the bit only for equal thread counts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update({**patience.RAY, **os.environ})  # before Ray is

import pytest
import torch
from torch import Tensor, nn

from fftune import recipes
from fftune.config import SweepConfig
from fftune.keyed_noise import Noise


class TwoClass(nn.Module):
    """Logits (0, w.x): p(class 1) is a logistic function of a linear score."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ self.weight
        return torch.stack([torch.zeros_like(score), score], 1)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups, and `-m` the marks
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    share_by_module(items)
    thin(items)


def thin(items: Iterable[pytest.Function]) -> None:
    """Of a test's cases `some(n)` leaves n to the default suite, spread evenly; others are slow."""
    cases = defaultdict(list)
    for item in items:
        if item.get_closest_marker("some") and not item.get_closest_marker("slow"):
            cases[item.path, item.cls, item.originalname].append(item)
    for each in cases.values():
        (count,) = each[0].get_closest_marker("some").args
        kept = {i * (len(each) - 1) // max(count - 1, 1) for i in range(count)}
        for i, item in enumerate(each):
            if i not in kept:
                item.add_marker(pytest.mark.slow)


def share_by_module(items: Iterable[pytest.Function]) -> None:
    """Tests that share a module's fixture run in one worker, or each worker would make its own."""
    for item in items:
        shared = [made[-1].scope for made in item._fixtureinfo.name2fixturedefs.values()]
        if "module" in shared and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def levels_of_the_log_are_kept() -> Iterator[None]:
    """Commands that run in the tests' process set them, as with `--quiet`."""
    logs = logging.getLogger(), logging.getLogger("fftune")
    before = [log.level for log in logs]
    yield
    for log, level in zip(logs, before, strict=True):
        log.setLevel(level)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def noise() -> Noise:
    return Noise(0).fold("digits", "test")


@pytest.fixture
def linear(rng: torch.Generator) -> TwoClass:
    return TwoClass(torch.randn(12, generator=rng))


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory) -> Path:
    """A fresh database: creating its tables takes seconds, copying it none."""
    from fftune.tracking.store import open_tracking

    root = tmp_path_factory.mktemp("mlflow")
    open_tracking(root, "Default")
    return root / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_mlflow: Path) -> Path:
    """A storage root."""
    shutil.copy(empty_mlflow, tmp_path)
    return tmp_path


@pytest.fixture
def quick() -> SweepConfig:
    """The tiny THRM study with three lambdas, two epochs, and a two-step battery on 200 images."""
    config = recipes.thrm("tiny")
    optimizer = replace(config.base.optimizer, epochs=2)
    return replace(
        config,
        name="quick",
        trials=3,
        base=replace(config.base, optimizer=optimizer),
        battery=replace(config.battery, steps=2, examples=200),
    )
