"""Attacks of fftune against torchattacks and published bounds: CPU seconds, passes, verdicts.

    python benchmarks/attacks.py STUDY --models FOLDER

STUDY is `autoattack`, `natural`, `hypocritical`, `table14` or `brackets`. FOLDER holds the nets
and `architectures.py`; data sets are found by `FFTUNE_DATA`. One thread; seconds are those of the
process, so that a busy machine disturbs them little.
"""

import argparse
import importlib.util
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fftune.comparison import Paired
from fftune.config import AttackConfig, BatteryConfig, DataSpec, Goal, Loss, ThreatModel
from fftune.data import Dataset, load
from fftune.data.subset import sample
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.block import ModelUnderTest, attack_block
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.tiers import CANARY, CANARY_LENGTHS, TIERS, AttackStage
from fftune.keyed_noise import Noise
from fftune.models import inference_copy
from fftune.outcomes import Outcomes
from fftune.risk import Rate

THREAT = ThreatModel(eps=8 / 255)
CLASSES = 10


def main() -> None:
    studies: dict[str, Callable[[Path], None]] = {
        "autoattack": autoattack,
        "natural": natural,
        "hypocritical": hypocritical,
        "table14": table14,
        "brackets": brackets,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=studies)
    parser.add_argument("--models", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, seed 0"
    )
    net, (_, x, _) = read(given.models, "fastat_small"), next(images("cifar10", 64).batches(64))
    net(x.requires_grad_()).sum().backward()  # what torch does once counts for neither side
    studies[given.study](given.models)


def autoattack(models: Path) -> None:
    """Run `fastat_small`, 256 images: every tier against the same four attacks of torchattacks."""
    net, data = read(models, "fastat_small"), images("cifar10", 256)
    for tier, lengths in TIERS.items():
        print(f"{tier}: {lengths}")
    print(f"canary of {CANARY}: {CANARY_LENGTHS}")
    rival = Rival(net, data)
    ours: dict[str, set[int]] = {}

    def tier(name: str) -> None:
        battery = BatteryConfig(name="ensemble", tier=name)
        outcomes, seconds = timed(lambda: evaluate(net, data, battery, threat=THREAT))
        ours[name] = survivors(outcomes)
        report(f"ours, {name}", seconds, outcomes, data)

    tier("escalating")
    rival.run("torchattacks APGD-CE", APGD_CE)
    tier("screen")
    rival.run("torchattacks APGD-T", APGD_T)
    rival.run("torchattacks FAB-T", FAB_T)
    rival.run("torchattacks Square", SQUARE)
    tier("escalating")
    print(
        f"torchattacks AutoAttack, full length: {rival.seconds:.1f} s; {len(rival.left)} robust",
        flush=True,
    )
    tier("full")
    for name, robust in ours.items():
        differ = sorted(robust ^ rival.left)
        print(
            f"ours, {name}: {len(robust)} robust; others than torchattacks' full length: {differ}"
        )
    default = Rival(net, data)
    default.run("torchattacks AutoAttack, its defaults of 10 steps", DEFAULT)
    every = fixed_parts(net, data)
    differ = sorted(every ^ rival.left)
    print(f"ours, fixed: {len(every)} robust; others than torchattacks' full length: {differ}")


def fixed_parts(net: nn.Module, data: Dataset) -> set[int]:
    """Run the four attacks on all examples at full length; ids that withstand them all."""
    config = AttackConfig(threat=THREAT, search="apgd", steps=100)
    fab = replace(config, search="fab", targets=9, start="none")
    stages: dict[str, tuple[AttackConfig, Loss]] = {
        "apgd-ce": (config, "ce"),
        "apgd-t": (replace(config, targets=9), "dlr"),
        "fab-t": (fab, "margin"),
        "square": (replace(config, search="square", steps=5000), "margin"),
    }
    left, total, model = set(data.ids.tolist()), 0.0, model_under_test(net, data)
    for name, (config, loss) in stages.items():
        outcomes, seconds = timed(lambda c=config, at=loss, n=name: single(model, data, n, c, at))
        left &= survivors(outcomes)
        total += seconds
        report(f"ours, fixed {name}", seconds, outcomes, data)
    print(f"ours, fixed, all four: {total:.1f} s")
    return left


def natural(models: Path) -> None:
    """Run `natural_small`, 256 images: six attacks, ours `strong`, against torchattacks'."""
    net, data = read(models, "natural_small"), images("cifar10", 256)
    pgd = AttackConfig(threat=THREAT, steps=20, protocol="strong")
    apgd = replace(pgd, search="apgd", steps=100)
    fab = replace(pgd, search="fab", steps=100, targets=9, start="none")
    attacks: dict[str, tuple[AttackConfig, Loss, Make]] = {
        "PGD-20": (pgd, "ce", PGD),
        "C&W": (replace(pgd, search="cw"), "margin", CW),
        "DeepFool": (replace(pgd, search="deepfool", steps=50, targets=9), "margin", DEEPFOOL),
        "APGD-CE": (apgd, "ce", APGD_CE),
        "APGD-T": (replace(apgd, targets=9), "dlr", APGD_T),
        "FAB": (fab, "margin", FAB_T),
    }
    mine, theirs, model = 0.0, 0.0, model_under_test(net, data)
    for name, (config, loss, make) in attacks.items():
        outcomes, seconds = timed(lambda c=config, at=loss, n=name: single(model, data, n, c, at))
        report(f"ours, {name}", seconds, outcomes, data)
        rival = Rival(net, data, all_examples=True)
        rival.run(f"torchattacks {name}", make)
        mine, theirs = mine + seconds, theirs + rival.seconds
        robust = survivors(outcomes)
        print(f"  fooled in the ball by torchattacks alone: {sorted(robust - rival.left)}")
        print(f"  fooled in the ball by ours alone: {sorted(rival.left - robust)}")
        if name in NO_RADIUS:
            print(
                f"  torchattacks' {name} seeks the least l2 distance and has no radius: it left "
                f"{len(rival.unmoved)} robust at any distance; verdicts in the ball cannot be equal"
            )
    print(f"together: ours {mine:.2f} s, torchattacks {theirs:.2f} s, {theirs / mine:.1f} x")


NO_RADIUS = ("C&W", "DeepFool")


def hypocritical(models: Path) -> None:
    """Run `fastat_small`, D- of 1,000 images: `strong` against PGD-20 and PGD-100."""
    net, data = read(models, "fastat_small"), images("cifar10", 1000)
    with torch.no_grad():
        right = torch.cat([net(x).argmax(1) == y for _, x, y in data.batches(256)])
    data = data.select((~right).nonzero().flatten(), data.split)
    pgd = AttackConfig(threat=THREAT, steps=100)
    battery = BatteryConfig(name="hypocritical", tier="escalating")
    model = model_under_test(net, data)
    hundred, seconds = timed(lambda: single(model, data, "pgd-100", pgd, "ce", "hypocritical"))
    report("PGD-100", seconds, hundred, data)
    outcomes, seconds = timed(
        lambda: evaluate(
            net, data, battery, threat=THREAT, attacks=attacks_of(battery, THREAT)[-1:]
        )
    )
    strong = outcomes.where(attack="strong")
    report("strong, canary included", seconds, strong, data)
    twenty = single(model, data, "pgd-20", replace(pgd, steps=20), "ce", "hypocritical")
    print(f"PGD-20: concealed {rate(twenty)}\nPGD-100: concealed {rate(hundred)}")
    print(f"strong: concealed {rate(strong)}")
    print(f"strong against PGD-20: {Paired.of(strong, twenty)}")


def table14(models: Path) -> None:
    """Run `fastat_small`, 1,000 images: Tao et al. 2022, table 14, and `strong`."""
    net, data = read(models, "fastat_small"), images("cifar10", 1000)
    battery = BatteryConfig(name="hypocritical", tier="escalating")
    outcomes = evaluate(net, data, battery, threat=THREAT)
    for attack in ("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"):
        rows = outcomes.where(attack=attack)
        frame = rows.to_pandas()
        right = Rate(int((frame["pred_pert"] == frame["y"]).sum()), len(frame))
        print(f"{attack:8s} F {right}; concealed of D- {rate(rows)}")
    best = AttackConfig(threat=THREAT, protocol="strong", step_size=THREAT.eps / 4)
    model = model_under_test(net, data)
    few, many = (
        single(model, data, f"best-{steps}", replace(best, steps=steps), "ce", "hypocritical")
        for steps in (20, 100)
    )
    print(f"best iterate kept, PGD-100 against PGD-20: {Paired.of(many, few)}")
    last = (outcomes.where(attack=f"pgd-{steps}") for steps in (100, 20))
    print(f"last iterate, PGD-100 against PGD-20: {Paired.of(*last, wrong_only=True)}")


def brackets(models: Path) -> None:
    """Compare robust accuracy on all test images with the verified bound and the published PGD."""
    cases = (
        ("wk_mnist_0.1", "mnist", 0.1, 94.2, 95.95),
        ("cifar_resnet2b", "cifar10", 2 / 255, 26.88, 54.82 + 0.5),
        ("cifar_resnet2b", "cifar10", 1 / 255, 57.16, 62.24 + 0.5),
    )
    for name, source, eps, low, high in cases:
        data = load(DataSpec(name=source), "test")
        battery, threat = BatteryConfig(name="ensemble"), ThreatModel(eps=eps)
        net = read(models, name)
        outcomes, seconds = timed(
            lambda n=net, d=data, b=battery, t=threat: evaluate(n, d, b, threat=t)
        )
        left = Rate(len(survivors(outcomes)), len(data))
        holds = low <= 100 * left.value <= high
        print(f"{name} at {eps:.4f}: A {left}; {low} <= A <= {high:.2f}: {holds}")
        report(f"ours, escalating, {name}", seconds, outcomes, data)


def model_under_test(net: nn.Module, data: Dataset) -> ModelUnderTest:
    columns = {"dataset_hash": "", "split": data.split, "model_hash": ""}
    few = next(data.batches(4))[1]
    copies = {
        "surrogate": inference_copy(net, "fp32", few),
        "surrogate_lowp": inference_copy(net, "auto", few),
    }
    return ModelUnderTest(net=net, **copies, classes=CLASSES, columns=columns)


def single(
    model: ModelUnderTest,
    data: Dataset,
    name: str,
    config: AttackConfig,
    loss: Loss,
    goal: Goal = "adversarial",
) -> Outcomes:
    """Run one attack on every example."""
    attack = Attack(name=name, goal=goal, stages=(AttackStage(config=config, loss=loss),))
    noise = Noise(0).fold(data.source.name, data.split)
    return Outcomes.of(attack_block(model, b, attack, noise=noise) for b in data.batches(256))


Make = Callable[[nn.Module], Any]


def APGD_CE(net: nn.Module) -> Any:  # noqa: N802
    return rivals().APGD(net, eps=THREAT.eps, steps=100, loss="ce", seed=0)


def APGD_T(net: nn.Module) -> Any:  # noqa: N802
    return rivals().APGDT(net, eps=THREAT.eps, steps=100, n_classes=CLASSES, seed=0)


def FAB_T(net: nn.Module) -> Any:  # noqa: N802
    eps = THREAT.eps
    return rivals().FAB(net, eps=eps, steps=100, multi_targeted=True, n_classes=CLASSES, seed=0)


def SQUARE(net: nn.Module) -> Any:  # noqa: N802
    return rivals().Square(net, eps=THREAT.eps, n_queries=5000, seed=0)


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


def read(models: Path, name: str) -> nn.Module:
    spec = importlib.util.spec_from_file_location("architectures", models / "architectures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.load(name)
    return net


def images(name: str, count: int) -> Dataset:
    """Sample `count` test images evenly over all ids: image folders keep no official order."""
    return sample(DataSpec(name=name), "test", count)


def timed(job: Callable[[], Outcomes]) -> tuple[Outcomes, float]:
    began = seconds_used()
    return job(), seconds_used() - began


def seconds_used() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def survivors(outcomes: Outcomes) -> set[int]:
    """Ids of examples that are correct when clean and under every attack but the canary."""
    frame = outcomes.to_pandas()
    frame = frame[frame["attack"] != "canary"]
    right = (frame["pred_pert"] == frame["y"]) & (frame["pred_clean"] == frame["y"])
    return set(frame.loc[right, "id"])


def report(name: str, seconds: float, outcomes: Outcomes, data: Dataset) -> None:
    frame, n = outcomes.to_pandas(), len(data)
    print(
        f"{name:50s}{seconds:9.2f} CPU-s {frame['forwards'].sum() / n:9.1f} forwards "
        f"{frame['backwards'].sum() / n:9.1f} backwards an example; "
        f"{len(survivors(outcomes))} robust, tier {sorted(set(frame['tier']))}",
        flush=True,
    )


def rate(outcomes: Outcomes) -> Rate:
    frame = outcomes.to_pandas()
    frame = frame[frame["pred_clean"] != frame["y"]]
    return Rate(int(frame["success"].sum()), len(frame))


if __name__ == "__main__":
    main()
