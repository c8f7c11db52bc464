"""Hedge Defense (Wu et al. 2021): its cost, its effect, and the closed forms of section 5.

    python benchmarks/defenses.py STUDY [--models FOLDER] [--model NAME] [--examples N]

STUDY is `speed` (20 hedge steps against 20 forward and backward passes of the same net), `memory`
(hedges in processes that keep freed memory against others), `linear` (section 5 and appendix C),
`analysis` (local Lipschitz differences, SSIM, second attacks), or `smoothing` (certificates of
Cohen et al. 2019 against adaptive attacks in l_2).
FOLDER holds the nets and `architectures.py`; data sets are found by `FFTUNE_DATA`. One thread;
seconds are those of the process, so that a busy machine disturbs them little.
"""

import argparse
import importlib.util
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fftune.attacks import apgd, pgd
from fftune.attacks.losses import all_classes
from fftune.certified.smoothing import certify
from fftune.config import AttackConfig, DataSpec, HedgeConfig, SmoothingConfig, ThreatModel
from fftune.data.subset import sample
from fftune.defenses import AdaptiveAccess, Hedge, hedge
from fftune.defenses.analysis import gradient_gap, ratio_gap, second_attacks
from fftune.defenses.smoothing import Smoothing, votes
from fftune.defenses.theory.linear import LinearTask, accuracies
from fftune.evaluation.defended import predict
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.risk import Rate

THREAT = ThreatModel(eps=8 / 255)
HEDGE = HedgeConfig()
BATCHES = (128, 16, 256)
SIGMA, VOTES = 0.12, 1000
RADII = (0.05, 0.1, 0.2, 0.4)
ROUNDS = 7
PAIRS = 5


def main() -> None:
    studies = {
        "speed": speed,
        "memory": memory,
        "linear": linear,
        "analysis": analysis,
        "smoothing": smoothing,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=studies)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--model", default="fastat_small")
    parser.add_argument("--examples", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, seed 0"
    )
    if given.study != "linear" and given.models is None:
        parser.error("--models is missing")
    studies[given.study](given)


def speed(given: argparse.Namespace) -> None:
    """Time hedges and plain passes in interleaved rounds; median of the ratios."""
    net = read(given)
    for size in BATCHES:
        x, ids = torch.rand(size, 3, 32, 32), torch.arange(size)
        noise = Noise(0).fold("defense")
        passes(net, x)
        ratios, seconds = [], []
        for _ in range(ROUNDS):
            plain = timed(lambda x=x: passes(net, x))
            ours = timed(lambda x=x, i=ids, n=noise: hedge(net, x, config=HEDGE, noise=n, ids=i))
            ratios.append(ours / plain)
            seconds.append(ours)
        print(
            f"{given.model}, batch {size}: K = {HEDGE.steps} in "
            f"{statistics.median(seconds):.3f} CPU-s, {statistics.median(ratios):.3f}x of as many "
            f"forward and backward passes ({ROUNDS} rounds, {min(ratios):.3f} to {max(ratios):.3f})"
        )


def passes(net: nn.Module, x: Tensor) -> None:
    """Run as many forward and backward passes as the hedge takes, and nothing else."""
    for _ in range(HEDGE.steps):
        x = x.detach().requires_grad_(True)
        torch.autograd.grad(all_classes(net(x)).sum(), x)


HEDGES = """
import sys, time, torch
sys.path.insert(0, sys.argv[1])
import architectures
from fftune.config import HedgeConfig
from fftune.defenses import hedge
from fftune.allocator import keep_freed
from fftune.models import inference_copy
from fftune.keyed_noise import Noise
if sys.argv[4] == "keep":
    keep_freed()
torch.set_num_threads(1)
size = int(sys.argv[3])
x, ids = torch.rand(size, 3, 32, 32), torch.arange(size)
net = inference_copy(architectures.load(sys.argv[2]), "fp32", x[:4])
for turn in range(3):
    if turn == 1:
        begin = time.process_time()
    hedge(net, x, config=HedgeConfig(), noise=Noise(turn), ids=ids)
print(time.process_time() - begin)
"""
"""Program that times two hedges after a first one, in a process with malloc settings of its own."""


def memory(given: argparse.Namespace) -> None:
    """Time hedges in interleaved processes with and without kept memory; median of the ratios."""
    for size in (128, 256):
        ratios, seconds = [], []
        for _ in range(PAIRS):
            leave, keep = (hedges_apart(given, size, how) for how in ("leave", "keep"))
            ratios.append(keep / leave)
            seconds.append(keep)
        print(
            f"{given.model}, batch {size}: two hedges in {statistics.median(seconds):.2f} CPU-s "
            f"where freed memory is kept, {statistics.median(ratios):.3f}x of where it is not "
            f"({PAIRS} pairs, {min(ratios):.3f} to {max(ratios):.3f})"
        )


def hedges_apart(given: argparse.Namespace, size: int, how: str) -> float:
    """Run two hedges in a process of their own; their CPU seconds."""
    arguments = [str(given.models), given.model, str(size), how]
    command = [sys.executable, "-c", HEDGES, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def linear(_given: argparse.Namespace) -> None:
    """Print the accuracies of section 5: zeta 0.5, eps 1, 1 < |x| <= 4."""
    for label, task in (
        ("k_f > k_t", LinearTask()),
        ("k_t > k_f", LinearTask(k_t=1.0, k_f=0.125)),
    ):
        for loss in ("linear", "ce"):
            found = accuracies(task, loss=loss)
            print(
                f"{label}, hedge climbs {loss}: natural {found.natural:.4f}, "
                f"attacked {found.attacked:.4f}, hedged {found.hedged:.4f}, "
                f"natural and hedged {found.natural_hedged:.4f}"
            )


def analysis(given: argparse.Namespace) -> None:
    """Attack the bare model by PGD-20; count what each defense corrects and breaks, with slopes."""
    net = read(given)
    data = sample(DataSpec(name="cifar10"), "test", given.examples)
    ids, x, y = next(data.batches(given.examples))
    noise = Noise(0).fold(data.source.name, data.split)
    config = AttackConfig(threat=THREAT, steps=20, step_size=THREAT.eps / 2)
    x_adv = pgd(net, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=ids)
    defender = Noise(0).fold("defense", data.source.name, data.split, 0)
    with torch.no_grad():
        before = net(x_adv).argmax(1)
    for name, settings in (("random", replace(HEDGE, steps=0)), ("hedge", HEDGE)):
        defense = Hedge(config=settings)
        after = predict(net, x_adv, defense=defense, noise=ExampleNoise(defender, ids))
        corrected, broken = (before != y) & (after == y), (before == y) & (after != y)
        other = (before != y) & (after != y) & (after != before)
        print(
            f"{name}: n = {len(y)}, FtoT {int(corrected.sum())}, TtoF {int(broken.sum())}, "
            f"FtoF {int(other.sum())}"
        )
        for kind, rows, false in (("FtoT", corrected, before), ("TtoF", broken, after)):
            lipschitz(net, x_adv[rows], false[rows], y[rows], noise, ids[rows], f"{name} {kind}")
    similarity(x, x_adv, hedge(net, x_adv, config=HEDGE, noise=defender, ids=ids))
    settings = {"config": config, "noise": noise, "ids": ids, "lengths": [config.steps]}
    print(*second_attacks(net, x, y, **settings))


def lipschitz(
    net: nn.Module, x: Tensor, false: Tensor, true: Tensor, noise: Noise, ids: Tensor, label: str
) -> None:
    if not len(x):
        return
    for score in ("logit", "log_prob"):
        steep = gradient_gap(net, x, false, true, score=score)
        far = ratio_gap(net, x, false, true, score=score, eps=THREAT.eps, noise=noise, ids=ids)
        for how, gap in (("gradient 1-norm", steep), ("largest of 32 ratios", far)):
            share = float((gap > 0).float().mean())
            print(
                f"  {label}, {score}, {how}: false - true {float(gap.median()):+.3g} (median), "
                f"positive for {share:.1%} of {len(x)}"
            )


def similarity(x: Tensor, x_adv: Tensor, x_hed: Tensor) -> None:
    """Print SSIM by scikit-image (Wang et al. 2004), means over the images."""
    from skimage.metrics import structural_similarity

    for label, images in (("adversarial", x_adv), ("hedge", x_hed), ("natural", x)):
        scores = [
            structural_similarity(one.numpy(), two.numpy(), channel_axis=0, data_range=1.0)
            for one, two in zip(x, images, strict=True)
        ]
        share = sum(score > 0.9 for score in scores) / len(scores)
        print(
            f"SSIM to natural, {label}: mean {statistics.mean(scores):.4f}, {share:.1%} over 0.90"
        )


def smoothing(given: argparse.Namespace) -> None:
    """Attack a smoothed net in l_2, and count what was certified and yet turned."""
    net = read(given)
    data = sample(DataSpec(name="cifar10"), "test", given.examples)
    x, y, ids = data.pixels / 255, data.y, data.ids
    defense = Smoothing(config=SmoothingConfig(sigma=SIGMA, votes=VOTES))
    noise = Noise(0)
    pred, radius = certify(net, x, config=defense.config, noise=noise.fold("certify"), ids=ids)
    print(f"sigma {SIGMA}, {VOTES} votes, n = {len(y)}: {int(radius.isnan().sum())} abstentions")
    access = AdaptiveAccess(defense=defense, draws=2)
    for eps in RADII:
        behind = access.wrap(net, noise=ExampleNoise(noise.fold("attacker"), ids), defender=noise)
        attack = AttackConfig(threat=ThreatModel(norm="l2", eps=eps), steps=20)
        more = {"config": attack, "goal": "adversarial", "loss": "margin"}
        x_adv = apgd(behind, x, y, noise=noise.fold("apgd"), ids=ids, **more)
        cast = votes(net, x_adv, config=defense.config, noise=noise.fold("judge"), ids=ids)
        kept, sure = cast.argmax(1) == y, (pred == y) & (radius >= eps)
        print(
            f"l_2 {eps}: certified {rate(sure)}, right under attack {rate(kept)}; "
            f"{int((sure & ~kept).sum())} certified ones turned"
        )


def rate(which: Tensor) -> Rate:
    """Rate of the examples that are marked."""
    return Rate(int(which.sum()), len(which))


def timed(job: Callable[[], object]) -> float:
    """CPU seconds that the job takes in this process."""
    begin = time.process_time()
    job()
    return time.process_time() - begin


def read(given: argparse.Namespace) -> nn.Module:
    """Load a model of the folder, in eval mode."""
    file = given.models / "architectures.py"
    spec = importlib.util.spec_from_file_location("architectures", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net: nn.Module = module.load(given.model)
    return net


if __name__ == "__main__":
    main()
