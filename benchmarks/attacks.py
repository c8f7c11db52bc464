"""Attacks of fftune against torchattacks and published bounds: CPU seconds, passes, verdicts.

    python benchmarks/attacks.py STUDY --models FOLDER

STUDY is `autoattack`, `natural`, `hypocritical`, `table14` or `brackets`. FOLDER holds the nets
and `architectures.py`; data sets are found by `FFTUNE_DATA`. One thread; seconds are those of the
process, so that a busy machine disturbs them little.

    python benchmarks/attacks.py autoattack --models FOLDER --device cuda [--images 1000]
                                 [--seeds 0 1 2] [--budget 230]
    python benchmarks/attacks.py battery --device cuda [--images 10000]

On a device: seeds of ours and of torchattacks paired by image, and PGD-20 on many images.

    python benchmarks/attacks.py library --models FOLDER [--images 100] [--seeds 0 1 2]
                                         [--records FILE] [--budget 2400]

Ours, torchattacks, adversarial-library and foolbox: passes to .97 of what all of them find; see
`library`.
"""

import argparse
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from arguments import device, whole
from library import NETS, study
from library_attacks import missing
from paired import many_images, paired
from rivals import (
    APGD_CE,
    APGD_T,
    CLASSES,
    CW,
    DEEPFOOL,
    DEFAULT,
    FAB_T,
    PGD,
    SQUARE,
    THREAT,
    Make,
    Rival,
    seconds_used,
    survivors,
)
from torch import nn

from fftune.comparison import Paired
from fftune.config import AttackConfig, BatteryConfig, DataSpec, Goal, Loss, ThreatModel
from fftune.data import Dataset, load
from fftune.data.subset import sample
from fftune.evaluation.batteries import Attack, attacks_of
from fftune.evaluation.block import attack_block
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.tiers import CANARY_SEARCHES, TIERS, AttackStage
from fftune.keyed_noise import Noise
from fftune.models import inference_copy
from fftune.outcomes import Outcomes
from fftune.risk import Rate


def main() -> None:
    studies: dict[str, Callable[..., None]] = {
        "autoattack": autoattack,
        "battery": autoattack,
        "natural": natural,
        "hypocritical": hypocritical,
        "table14": table14,
        "brackets": brackets,
        "library": library,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=studies)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--device", type=device, default="cpu")
    parser.add_argument("--images", type=whole)
    parser.add_argument("--seeds", type=int, nargs="*")
    parser.add_argument("--budget", type=float, help="seconds until nothing begins")
    parser.add_argument("--records", type=Path, help="file of `library`, which it goes on from")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.study == "battery":
        many_images(given.device, given.images or 10_000)
        return
    if given.models is None:
        parser.error("--models is needed: the folder with the nets")
    if not (given.models / "architectures.py").is_file():
        parser.error(f"--models must be a folder with architectures.py, got {str(given.models)!r}")
    if given.study == "library":
        library(given)
        return
    if given.device == "cuda" or given.images or given.seeds:
        net, data = read(given.models, "fastat_small"), images("cifar10", given.images or 1000)
        paired(net, data, given.device, given.seeds or [0, 1, 2], given.budget or 230)
        return
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, seed 0"
    )
    net, (_, x, _) = read(given.models, "fastat_small"), next(images("cifar10", 64).batches(64))
    net(x.requires_grad_()).sum().backward()  # what torch does once counts for neither side
    studies[given.study](given.models)


def autoattack(models: Path) -> None:
    """Run `fastat_small`, 256 images: every tier against the same four attacks of torchattacks."""
    net, data = read(models, "fastat_small"), images("cifar10", 256)
    for name, searches in TIERS.items():
        print(f"{name}: {searches.told('adversarial')}")
    print(f"canary: {CANARY_SEARCHES.told('adversarial')}")
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
    pgd = AttackConfig(threat=THREAT, steps=20, protocol="first_success")
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
    best = AttackConfig(threat=THREAT, protocol="first_success", step_size=THREAT.eps / 4)
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


def library(given: argparse.Namespace) -> None:
    """Compare four libraries on both small CIFAR-10 nets, for adversaries and false friends."""
    for name in missing():
        print(f"{name} is not installed: the union is without it")
    study(
        {name: read(given.models, name).eval() for name in NETS},
        lambda: images("cifar10", 1000).batches(250),
        given.images or 100,
        given.seeds or [0, 1, 2],
        given.records,
        given.budget or 2400,
    )


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
