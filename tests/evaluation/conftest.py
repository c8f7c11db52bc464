import importlib.util
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from fftune.data import Dataset, Source
from tests.evaluation.toy_net import Toy

SHARED = Path(os.environ.get("FFTUNE_SHARED", Path(__file__).parents[3] / "shared"))


@pytest.fixture(scope="session")
def toy() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Toy()
        model.norm.running_mean.normal_()
        model.norm.running_var.uniform_(0.5, 2)
        for parameter in model.norm.parameters():
            parameter.data.uniform_(0.5, 1.5)
        model.eval()
        with torch.no_grad():  # every class has its share
            model.fc.bias -= model(torch.rand(500, 1, 6, 6)).mean(0)
    return model.eval()


@pytest.fixture(scope="session")
def blobs(toy: nn.Module) -> Dataset:
    """100 random images; the toy net is right about two of three."""
    rng = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (100, 1, 6, 6), generator=rng, dtype=torch.uint8)
    source = Source(name="blobs", classes=tuple("abcdefgh"), mean=(0.5,), std=(0.5,))
    with torch.no_grad():
        pred = toy(pixels / 255).argmax(1)
    y = torch.where(torch.arange(100) % 3 > 0, pred, (pred + 1) % 8)
    ids = 3 * torch.arange(100)
    return Dataset(source=source, split="test", ids=ids, pixels=pixels, y=y)


@pytest.fixture(scope="session")
def shared_net():
    """`shared_net(NAME)`, one of the real nets; skips where they are not."""

    def read(name: str) -> nn.Module:
        file = SHARED / "models" / "architectures.py"
        if not file.exists():
            pytest.skip("the shared nets are not here")
        spec = importlib.util.spec_from_file_location("architectures", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.load(name)

    return read


@pytest.fixture(scope="session")
def cifar10() -> Dataset:
    """256 real test images, evenly over the classes; skips where they are not."""
    import subprocess

    from fftune.config import DataSpec
    from fftune.data.subset import sample

    archive = SHARED / "data" / "cifar10-png.tar.xz"
    if not archive.exists():
        pytest.skip("the shared images are not here")
    root = Path("~/.cache/fftune/datasets").expanduser()
    if not (root / "cifar10").exists():
        root.mkdir(parents=True, exist_ok=True)
        subprocess.run(["tar", "xJf", archive, "-C", root], check=True)
    return sample(DataSpec(name=f"folder:{root / 'cifar10'}"), "test", 256)
