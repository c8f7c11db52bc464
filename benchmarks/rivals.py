"""torchattacks beside ours: its attacks at their published lengths, and who withstands them."""

import resource
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import ThreatModel
from fftune.data import Dataset
from fftune.outcomes import Outcomes

THREAT = ThreatModel(eps=8 / 255)
CLASSES = 10
Make = Callable[..., Any]


def APGD_CE(net: nn.Module, seed: int = 0) -> Any:  # noqa: N802
    return rivals().APGD(net, eps=THREAT.eps, steps=100, loss="ce", seed=seed)


def APGD_T(net: nn.Module, seed: int = 0) -> Any:  # noqa: N802
    return rivals().APGDT(net, eps=THREAT.eps, steps=100, n_classes=CLASSES, seed=seed)


def FAB_T(net: nn.Module, seed: int = 0) -> Any:  # noqa: N802
    settings = {"steps": 100, "multi_targeted": True, "n_classes": CLASSES, "seed": seed}
    return rivals().FAB(net, eps=THREAT.eps, **settings)


def SQUARE(net: nn.Module, seed: int = 0) -> Any:  # noqa: N802
    return rivals().Square(net, eps=THREAT.eps, n_queries=5000, seed=seed)


def DEFAULT(net: nn.Module) -> Any:  # noqa: N802
    return rivals().AutoAttack(net, eps=THREAT.eps, n_classes=CLASSES, seed=0)


def PGD(net: nn.Module) -> Any:  # noqa: N802
    return rivals().PGD(net, eps=THREAT.eps, alpha=THREAT.eps / 4, steps=20)


def CW(net: nn.Module) -> Any:  # noqa: N802
    """C&W for l2 with Adam, the only one that torchattacks has."""
    return rivals().CW(net)


def DEEPFOOL(net: nn.Module) -> Any:  # noqa: N802
    return rivals().DeepFool(net, steps=50)


def rivals() -> Any:
    import torchattacks

    return torchattacks


class Counter(nn.Module):
    """Model that counts the examples of its forward and backward passes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.forwards, self.backwards = net, 0, 0
        self.eval()  # torchattacks leaves the net in the mode that this module was in

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += len(x)
        logits: Tensor = self.net(x)
        if logits.requires_grad:
            logits.register_hook(self._differentiated)
        return logits

    def _differentiated(self, grad: Tensor) -> None:
        self.backwards += len(grad)


class Rival:
    """Attacks of torchattacks in turn, each on the examples that withstood the ones before."""

    def __init__(self, net: nn.Module, data: Dataset, *, all_examples: bool = False) -> None:
        self.net, self.data, self.all_examples = net, data, all_examples
        self.seconds, self.left = 0.0, set(data.ids.tolist())
        self.unmoved = set(self.left)
        """Ids that no point fooled, in the ball or outside; `left` counts points inside only."""

    def run(self, name: str, make: Make) -> None:
        counter, began, n, outside = Counter(self.net), seconds_used(), len(self.data), 0
        torch.manual_seed(0)
        for ids, x, y in self.data.batches(256):
            at = torch.tensor([i in self.left or self.all_examples for i in ids.tolist()])
            # torchattacks attacks wrong examples too; AutoAttack, as published, does not.
            with torch.no_grad():
                at &= torch.full_like(at, self.all_examples) | (counter(x).argmax(1) == y)
                wrong = set(ids[(self.net(x).argmax(1) != y)].tolist())
                self.left, self.unmoved = self.left - wrong, self.unmoved - wrong
            x_adv = make(counter)(x[at], y[at]).detach()
            with torch.no_grad():
                fooled = self.net(x_adv).argmax(1) != y[at]
            inside = (x_adv - x[at]).abs().flatten(1).amax(1) <= THREAT.eps + 1e-6
            outside += int((fooled & ~inside).sum())
            self.left -= set(ids[at][fooled & inside].tolist())
            self.unmoved -= set(ids[at][fooled].tolist())
        spent = seconds_used() - began
        self.seconds += spent
        print(
            f"{name:50s}{spent:9.2f} CPU-s {counter.forwards / n:9.1f} forwards "
            f"{counter.backwards / n:9.1f} backwards an example; {len(self.left)} robust"
            + (f", {outside} more fooled, but outside the ball" if outside else ""),
            flush=True,
        )


def seconds_used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def survivors(outcomes: Outcomes) -> set[int]:
    """Ids of examples that are correct when clean and under every attack but the canary."""
    frame = outcomes.to_pandas()
    frame = frame[frame["attack"] != "canary"]
    right = (frame["pred_pert"] == frame["y"]) & (frame["pred_clean"] == frame["y"])
    return set(frame.loc[right, "id"])
