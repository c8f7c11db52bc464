"""Verdicts by pieces of one size: what goes in, what comes out, and the flags meanwhile."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune import devices
from fftune.config import InputSpec
from fftune.errors import ModelError
from fftune.models import fits, make_model, verdict
from fftune.models.verdict import exact, in_pieces, pieces

SHAPE = (3, 8, 8)
RAMP = torch.linspace(0, 1, 192).view(SHAPE)


class Noted(nn.Module):
    """Class sums of the pixels, and what it was asked under which flags."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []
        self.flags: list[dict[str, object]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.asked.append(x)
        self.flags.append(flags())
        return x.flatten(2).sum(2)


def flags() -> dict[str, object]:
    backends = torch.backends
    return {
        "benchmark": backends.cudnn.benchmark,
        "deterministic": backends.cudnn.deterministic,
        "convolutions": backends.cudnn.conv.fp32_precision,
        "recurrent": backends.cudnn.rnn.fp32_precision,
        "products": backends.cuda.matmul.fp32_precision,
        "fills": torch.utils.deterministic.fill_uninitialized_memory,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "medium": _or_none(torch.get_float32_matmul_precision) == "medium",
        "old convolutions": _or_none(lambda: backends.cudnn.allow_tf32),
        "old products": _or_none(lambda: backends.cuda.matmul.allow_tf32),
    }


def _or_none(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except RuntimeError:
        return None


EXACT = {
    "benchmark": False,
    "deterministic": True,
    "convolutions": "ieee",
    "recurrent": "ieee",
    "products": "ieee",
    "fills": False,
    "algorithms": True,
    "warns": True,
    "autocast": False,
    "medium": False,
    "old convolutions": False,
    "old products": False,
}


def _fast() -> None:
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = True


def _newer() -> None:
    torch.backends.cudnn.conv.fp32_precision = "ieee"
    torch.backends.cuda.matmul.fp32_precision = "tf32"


SETTINGS: dict[str, Callable[[], None]] = {
    "torch's defaults": lambda: None,
    "everything fast": _fast,
    "no TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "medium products": lambda: torch.set_float32_matmul_precision("medium"),
    "the newer flags alone": _newer,
    "deterministic": lambda: torch.set_deterministic_debug_mode("error"),
}


@pytest.fixture
def as_before():
    yield
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = True
    torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("fails", [False, True])
def test_flags_are_exact_inside_and_as_before_outside(setting, fails, as_before) -> None:
    SETTINGS[setting]()
    before, net = flags(), Noted()

    def ask(x: Tensor) -> Tensor:
        net(x)
        if fails:
            raise RuntimeError("no memory")
        return x.flatten(2).sum(2)

    with torch.autocast("cpu"):
        if fails:
            with pytest.raises(RuntimeError, match="no memory"):
                in_pieces(ask, 4)(torch.rand(3, *SHAPE))
        else:
            in_pieces(ask, 4)(torch.rand(3, *SHAPE))
    assert net.flags == [EXACT]
    assert flags() == before


def test_without_a_size_nothing_is_touched() -> None:
    before, net, x = flags(), Noted(), torch.rand(5, *SHAPE)
    assert torch.equal(in_pieces(net, 0)(x), x.flatten(2).sum(2))
    assert len(net.asked) == 1 and net.asked[0] is x and net.flags == [before]
    # A CPU says 0; a device that says another size gets it.
    in_pieces(net)(x)
    assert net.asked[1] is x


def test_the_size_is_the_devices(monkeypatch) -> None:
    fake = {"cpu": replace(devices.CPU, piece=2)}
    monkeypatch.setattr(verdict, "policy", fake.__getitem__)
    net = Noted()
    assert in_pieces(net)(torch.rand(5, *SHAPE)).shape == (5, 3)
    assert [len(part) for part in net.asked] == [2, 2, 2] and net.flags == [EXACT] * 3


@pytest.mark.parametrize(("count", "rows"), [(0, [0]), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_pieces_are_the_rows_in_order_and_a_ramp_where_they_end(count, rows) -> None:
    x = torch.rand(count, *SHAPE)
    with pieces(x, 4) as parts:
        found = list(parts)
    assert [real for _, real in found] == rows
    assert torch.equal(torch.cat([part[:real] for part, real in found]), x)
    for part, real in found:
        assert part.shape == (4, *SHAPE)
        assert all(torch.equal(row, RAMP) for row in part[real:])


def test_padding_is_an_image_and_not_flat() -> None:
    assert (float(RAMP.min()), float(RAMP.max())) == (0, 1) and float(RAMP.std()) > 0.2


INPUTS = InputSpec(shape=SHAPE, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
NETS = {"mlp": 48, "small_cnn": 8, "small_resnet": 8, "resnet18": 8, "wrn28_10": 4}
"""Widths of the nets that are asked: MKL's products depend on where a row of a matrix begins, which
rows of whole cache lines do alike."""


def net_of(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make_model(name, INPUTS, width=NETS[name])
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.some(4)
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("piece", [16, 13])
def test_a_row_says_the_same_at_every_place_beside_all_neighbours(name: str, piece: int) -> None:
    """To the bit; and what the plain net says, but for rounding."""
    net = net_of(name)
    ask = in_pieces(net, piece)
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(40, *SHAPE, generator=rng)
    with torch.no_grad():
        whole, plain = ask(x), net(x)
        torch.testing.assert_close(whole, plain, rtol=1e-5, atol=1e-5)
        for _ in range(20):
            order = torch.randperm(40, generator=rng)[
                : int(torch.randint(1, 41, (), generator=rng))
            ]
            assert torch.equal(ask(x[order]), whole[order])
        others = torch.rand(piece, *SHAPE, generator=rng)
        for place in range(piece):
            batch = others.clone()
            batch[place] = x[0]
            assert torch.equal(ask(batch)[place], whole[0])


def test_a_net_that_returns_other_rows_than_it_was_given_is_refused() -> None:
    def two(x: Tensor) -> Tensor:
        return torch.zeros(2, 10)

    with pytest.raises(ModelError, match=r"net returned \(2, 10\), expected \(1, 10\)"):
        fits.logits_of(in_pieces(two, 4), torch.rand(1, *SHAPE), 10)


def test_inside_twice_is_inside() -> None:
    before = flags()
    with exact():
        with exact():
            pass
        assert flags() == EXACT
    assert flags() == before
