"""One net for all weights lambda: BatchNorms that are shifted and scaled by a function of lambda.

The layers are FiLM's (Perez et al. 2018), as Once-for-all Adversarial Training has them for natural
against adversarial accuracy (Wang et al. 2020).
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from math import log1p, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fftune.config.conditioning import Conditioning
from fftune.errors import ConfigError, ModelError

SINES = 3
"""Number of sines in the encoding of lambda, beside the straight line."""
SIZE = 3.0
"""Factor of the encoding: modulation learns at its square times the rate of other weights. At 1 the
net reaches less of the front, on the digits next to nothing; see experiments/LOG.md."""


class ConditionalNet(nn.Module):
    """An ordinary net whose every BatchNorm is a `ConditionalNorm`.

    Called with images alone it answers as it does at the greatest lambda; `at` gives it another.
    At lambda = 0 it is the net without modulation, with the BatchNorms of its own that
    `Conditioning.norms = 2` gives it.
    """

    def __init__(self, net: nn.Module, conditioning: Conditioning) -> None:
        """
        Args:
            net: with fresh or trained weights; its BatchNorms are replaced.

        Raises:
            ConfigError: it has none.
        """
        super().__init__()
        self.net = net
        self.conditioning = conditioning
        self._given = _Given()
        names = [n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)]
        if not names:
            raise ConfigError("objective needs a model with BatchNorm, whose layers lambda shifts")
        for name in names:
            norm = net.get_submodule(name)
            net.set_submodule(name, ConditionalNorm(norm, self._given, norms=conditioning.norms))

    def forward(self, x: Tensor, lam: Tensor | None = None) -> Tensor:
        """Logits of images, each at its own lambda.

        Args:
            x: (B, C, H, W) in [0, 1].
            lam: (B,), each in [0, the greatest]; None: the greatest for all.

        Returns:
            (B, K).
        """
        if lam is None:
            lam = x.new_full((len(x),), self.conditioning.top)
        with self._given.to(encoded(lam, self.conditioning.top), lam == 0):
            logits: Tensor = self.net(x)
        return logits


class AtLambda(nn.Module):
    """A conditional net with its lambdas given: a net of images alone."""

    lam: Tensor

    def __init__(self, net: nn.Module, lam: Tensor) -> None:
        """
        Args:
            net: a `ConditionalNet`, or one that is wrapped.
            lam: (), for all images; or (B,), one for each image of the only batch that it takes.
        """
        super().__init__()
        self.net = net
        self.register_buffer("lam", lam, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x, self.lam.expand(len(x)))
        return logits


class ConditionalNorm(nn.Module):
    """BatchNorm, then y (1 + gamma(lambda)) + beta(lambda) by channels; 0 modulates nothing.

    With two norms, rows of lambda = 0 have one of their own, and do not enter the other's
    statistics.
    """

    def __init__(self, norm: nn.Module, given: "_Given", *, norms: int) -> None:
        super().__init__()
        assert isinstance(norm, nn.BatchNorm2d)
        self.norm = norm
        self.clean = copy.deepcopy(norm) if norms == 2 else None
        """The norm of lambda = 0; None: there is one for all."""
        self.film = nn.Linear(1 + SINES, 2 * norm.num_features, bias=False)
        nn.init.zeros_(self.film.weight)
        self._given = given

    def forward(self, x: Tensor) -> Tensor:
        given = self._given
        gamma, beta = self.film(given.code).chunk(2, 1)
        if not self.training:
            return self._by_row(x, gamma, beta)
        y = self._normed(x, given)
        if given.all_clean:
            return y
        out: Tensor = y * (1 + gamma[..., None, None]) + beta[..., None, None]
        return out

    def _normed(self, x: Tensor, given: "_Given") -> Tensor:
        """BatchNorm in train mode, in which each norm takes the statistics of its own rows."""
        if self.clean is None or given.none_clean:
            return self.norm(x)  # type: ignore[no-any-return]
        if given.all_clean:
            return self.clean(x)  # type: ignore[no-any-return]
        y = torch.empty_like(x)
        y = y.index_put((given.clean,), self.clean(x[given.clean]))
        return y.index_put((~given.clean,), self.norm(x[~given.clean]))

    def _by_row(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """All of it in eval mode, in one pass over x: it is linear in x, row by row."""
        scale, shift = _linear(self.norm)
        if self.clean is not None:
            clean = self._given.clean[:, None]
            of_clean = _linear(self.clean)
            scale, shift = (
                torch.where(clean, of_clean[0], scale),
                torch.where(clean, of_clean[1], shift),
            )
        scale, shift = scale * (1 + gamma), shift * (1 + gamma) + beta
        return torch.addcmul(shift[..., None, None], x, scale[..., None, None])

    def folded(self, code: Tensor, *, clean: bool) -> nn.BatchNorm2d:
        """The ordinary BatchNorm that this is at one lambda, whose code is (1 + SINES,)."""
        norm = copy.deepcopy(self.clean if clean and self.clean is not None else self.norm)
        assert isinstance(norm, nn.BatchNorm2d)
        with torch.no_grad():
            gamma, beta = self.film(code).chunk(2)
            norm.weight.mul_(1 + gamma)
            norm.bias.mul_(1 + gamma).add_(beta)
        return norm


def _linear(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Factor and summand, (C,) each, that a BatchNorm is in eval mode."""
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def encoded(lam: Tensor, top: float) -> Tensor:
    """(..., 1 + SINES): t = log(1 + lam) / log(1 + top), sin(pi t), sin(2 pi t) ..., times `SIZE`.

    A linear function of it is any smooth function of t that is 0 at lambda = 0.

    Args:
        lam: (...), in [0, top].
    """
    t = torch.log1p(lam) / log1p(top)
    return SIZE * torch.stack([t, *(torch.sin(pi * k * t) for k in range(1, 1 + SINES))], -1)


class _Given:
    """Encoded lambdas of the batch that is being asked, which all layers of a net share."""

    code: Tensor
    """(B, 1 + SINES)."""
    clean: Tensor
    """(B,) bool: lambda is 0."""
    _zeros: int | None = None

    @contextmanager
    def to(self, code: Tensor, clean: Tensor) -> Iterator[None]:
        self.code, self.clean, self._zeros = code, clean, None
        try:
            yield
        finally:
            del self.code, self.clean

    @property
    def zeros(self) -> int:
        """Rows of lambda = 0. It waits for the device, so that only training asks, once a batch."""
        if self._zeros is None:
            self._zeros = int(self.clean.sum())
        return self._zeros

    @property
    def all_clean(self) -> bool:
        """Every row is of lambda = 0."""
        return self.zeros == len(self.clean)

    @property
    def none_clean(self) -> bool:
        """No row is."""
        return self.zeros == 0

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Given":
        memo[id(self)] = made = _Given()  # shared by the layers of the copy in their turn
        return made


def net_at(net: ConditionalNet, lam: float) -> nn.Module:
    """The ordinary net that a conditional one is at one lambda, in eval mode, with its own weights.

    The same function but for rounding: the modulation lies inside the BatchNorms.

    Raises:
        ModelError: the net was not trained for that lambda.
    """
    top = net.conditioning.top
    if not 0 <= lam <= top:
        raise ModelError(f"lam must be in [0, {top:g}], for which the net is trained, got {lam:g}")
    code = encoded(torch.tensor(lam), top)
    plain = copy.deepcopy(net.net).cpu().eval()
    for name, module in list(plain.named_modules()):
        if isinstance(module, ConditionalNorm):
            plain.set_submodule(name, module.folded(code, clean=lam == 0))
    return plain
