"""On a card: a verdict does not depend on neighbours, place, TF32 or what else is asked for."""

import pytest
import torch
from torch import nn

from fftune.config import HedgeConfig, InputSpec
from fftune.defenses import Hedge
from fftune.devices import CUDA
from fftune.evaluation.defended import predict
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import make_model
from fftune.models.contexts import freeze
from fftune.models.verdict import in_pieces

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

SHAPE = (3, 32, 32)
INPUTS = InputSpec(shape=SHAPE, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
COUNT = 2 * CUDA.piece + 88


def net_of(name: str) -> nn.Module:
    return freeze(make_model(name, INPUTS).eval())


@pytest.fixture
def everything_fast():
    backends = torch.backends
    before = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, backends.cudnn.benchmark
    backends.cudnn.allow_tf32 = backends.cuda.matmul.allow_tf32 = backends.cudnn.benchmark = True
    yield
    backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32, backends.cudnn.benchmark = before


def images() -> torch.Tensor:
    return torch.rand(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["mlp", "small_cnn", "small_resnet", "resnet18"])
def test_a_row_says_the_same_at_every_place_beside_all_neighbours(name, everything_fast) -> None:
    net, x = net_of(name).cuda(), images().cuda()
    ask, rng = in_pieces(net), torch.Generator().manual_seed(1)
    with torch.no_grad():
        whole = ask(x)
        for size in (1, 2, 31, 250, 256, 257, COUNT):
            order = torch.randperm(COUNT, generator=rng)[:size]
            assert torch.equal(ask(x[order.cuda()]), whole[order.cuda()])
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.benchmark
    assert torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("name", ["mlp", "small_resnet", "resnet18"])
def test_it_is_float32(name, everything_fast) -> None:
    """Against float64; TF32 keeps 10 bits of a factor, float32 23."""
    net, x = net_of(name), images()[:64]
    with torch.no_grad():
        exact = net.double()(x.double())
        found = in_pieces(net.float().cuda())(x.cuda()).cpu().double()
    assert float((found - exact).abs().max()) < 2e-5 * float(exact.abs().max())


def test_a_defenses_steps_are_part_of_it(everything_fast) -> None:
    """The same example, alone, among others and in another order."""
    net, x = net_of("small_resnet").cuda(), images()[:300].cuda()
    defense, ids = Hedge(config=HedgeConfig(steps=5)), torch.arange(300)

    def ask(rows: torch.Tensor) -> torch.Tensor:
        noise = ExampleNoise(Noise(0), ids[rows])
        return predict(net, x[rows.cuda()], defense=defense, noise=noise).cpu()

    whole = ask(ids)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    for rows in (order, order[:40], order[7:8]):
        assert torch.equal(ask(rows), whole[rows])
