"""Ours and torchattacks on one device: seeds of each, paired by image; and PGD-20 on many images.

Points of both are judged by our verdict pass. Wall-clock seconds, the device waited for; what
warming and recording took is printed apart, and no part begins once the budget is spent.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from statistics import fmean, median

import torch
import torch.nn.functional as F
from rivals import APGD_CE, APGD_T, FAB_T, SQUARE, THREAT, Make, survivors
from scipy.stats import binomtest
from torch import Tensor, nn

from fftune.capture import first_use
from fftune.config import BatteryConfig, DataSpec
from fftune.data import Dataset
from fftune.data.subset import sample
from fftune.errors import DataError
from fftune.evaluation.escalation import plan
from fftune.evaluation.job import EvalJob, under_test
from fftune.evaluation.model_under_test import ModelUnderTest, logits_of
from fftune.evaluation.scheduler import JobState, run_inline
from fftune.models import make_model
from fftune.outcomes import Outcomes

PARTS: dict[str, Make] = {"APGD-CE": APGD_CE, "APGD-T": APGD_T, "FAB-T": FAB_T, "Square": SQUARE}
WIDTH = 1000
"""Images that torchattacks and the plain loop attack together."""


class Clock:
    """Seconds of parts, and what may still begin."""

    def __init__(self, device: str, budget: float) -> None:
        self.device, self.budget, self.began = device, budget, time.perf_counter()
        self.taken: dict[str, list[float]] = {}
        self.skipped: list[str] = []

    def now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def may(self, name: str, kind: str) -> bool:
        """True where a part fits in the budget, by the time that one of its kind took."""
        expected = max(self.taken.get(kind, [0.0]))
        if self.now() - self.began + expected <= self.budget:
            return True
        self.skipped.append(name)
        print(f"{name:32s} skipped: the budget of {self.budget:.0f} s is spent", flush=True)
        return False

    def run(self, name: str, kind: str, job: Callable[[], set[int]]) -> set[int]:
        """Do a part and print its seconds, those of first use apart."""
        before, began = first_use(), self.now()
        left = job()
        seconds, after = self.now() - began, first_use()
        spent = {f.name: getattr(after, f.name) - getattr(before, f.name) for f in fields(after)}
        self.taken.setdefault(kind, []).append(seconds)
        print(
            f"{name:32s}{seconds:9.2f} s, of which warming {spent['warming']:.2f} s "
            f"({spent['warmed']} calls), recording {spent['recording']:.2f} s "
            f"({spent['recorded']}), {spent['replayed']} replays; {len(left)} robust",
            flush=True,
        )
        return left


def hardware(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"CPU, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def paired(net: nn.Module, data: Dataset, device: str, seeds: list[int], budget: float) -> None:
    """Run `fastat_small`: tiers of ours, and `full` against torchattacks for each seed."""
    theirs_here = importlib.util.find_spec("torchattacks") is not None
    rival = f"torchattacks {version('torchattacks')}" if theirs_here else "no torchattacks here"
    print(f"torch {torch.__version__}, {rival}, {hardware(device)}; {len(data)} images, {seeds=}")
    clock = Clock(device, budget)
    ours: list[set[int]] = []
    theirs: list[set[int]] = []
    with under_test(net, job_of(data, "full", 0, device)) as subject:

        def tier(name: str, seed: int) -> set[int] | None:
            if not clock.may(f"ours, {name}, seed {seed}", name):
                return None
            job = job_of(data, name, seed, device)
            return clock.run(f"ours, {name}, seed {seed}", name, lambda: attacked(subject, job))

        tier("screen", seeds[0])
        tier("escalating", seeds[0])
        for seed in seeds:
            mine = tier("full", seed)
            if theirs_here and clock.may(f"torchattacks, seed {seed}", "torchattacks"):
                left = clock.run(
                    f"torchattacks, seed {seed}",
                    "torchattacks",
                    lambda s=seed: rivalled(subject, data, s, device),
                )
                if mine is not None:
                    ours.append(mine)
                    theirs.append(left)
        for name in ("screen", "escalating", "screen", "escalating"):
            tier(name, seeds[-1])
    times(clock)
    if theirs:
        compared(ours, theirs, set(data.ids.tolist()))
    print(f"skipped: {clock.skipped or 'nothing'}")


def job_of(data: Dataset, tier: str, seed: int, device: str) -> EvalJob:
    battery = BatteryConfig(name="ensemble", tier=tier, seed=seed, device=device)
    return EvalJob.of(data, battery, model_hash="", threat=THREAT)


def attacked(subject: ModelUnderTest, job: EvalJob) -> set[int]:
    """Ids that withstand a job of ours."""
    subject.clean.clear()
    outcomes: Outcomes = run_inline(subject, job, JobState(plan=plan(job))).complete()
    return survivors(outcomes)


def rivalled(subject: ModelUnderTest, data: Dataset, seed: int, device: str) -> set[int]:
    """Ids that withstand torchattacks' four attacks, each on what the last left, as we judge."""
    left: set[int] = set()
    for ids, x, y in data.batches(WIDTH):
        x, y = x.to(device), y.to(device)
        held = (logits_of(subject, x).argmax(1) == y).nonzero().flatten()
        for make in PARTS.values():
            if not len(held):
                break
            torch.manual_seed(seed)
            x_adv = make(subject.net, seed)(x[held], y[held]).detach().to(x)
            fooled = judged(subject, x_adv, x[held]) != y[held]
            held = held[~fooled]
        left |= set(ids[held.cpu()].tolist())
    return left


def judged(subject: ModelUnderTest, x_adv: Tensor, x: Tensor) -> Tensor:
    """Predictions of our verdict pass; of the clean image where a point lies outside the ball."""
    far = (x_adv - x).abs().flatten(1).amax(1) > THREAT.eps + 1e-6
    inside = ~far & (x_adv.flatten(1).amin(1) >= 0) & (x_adv.flatten(1).amax(1) <= 1)
    point = torch.where(inside.view(-1, 1, 1, 1), x_adv, x)
    return logits_of(subject, point).argmax(1)


def times(clock: Clock) -> None:
    """Print the first run of each kind, and the median of those after it: graphs are warm."""
    print(f"{'':14s}{'first, s':>10s}{'warm, s':>10s}{'torchattacks / warm':>22s}")
    rival = clock.taken.get("torchattacks")
    for kind, taken in clock.taken.items():
        warm = median(taken[1:]) if len(taken) > 1 else float("nan")
        both = rival and kind != "torchattacks" and len(taken) > 1
        ratio = f"{median(rival) / warm:.1f} x" if both else "-"
        print(f"{kind:14s}{taken[0]:10.2f}{warm:10.2f}{ratio:>22s}")


def compared(ours: list[set[int]], theirs: list[set[int]], every: set[int]) -> None:
    """Print seeds' mean difference in points, and McNemar's test over the unions of what fell."""
    n = len(every)
    gaps = [100 * (len(a) - len(b)) / n for a, b in zip(ours, theirs, strict=True)]
    print(f"ours minus torchattacks, robust points by seed: {[round(gap, 2) for gap in gaps]}")
    print(f"mean difference {fmean(gaps):+.2f} points (at most +0.2 wanted), n = {n}")
    mine, others = set.intersection(*ours), set.intersection(*theirs)
    only_us, only_them = others - mine, mine - others
    p = binomtest(len(only_us), len(only_us) + len(only_them)).pvalue if only_us | only_them else 1
    print(
        f"unions over {len(ours)} seeds: fooled by ours alone {sorted(only_us)}, by theirs alone "
        f"{sorted(only_them)}; McNemar p = {p:.2g}"
    )


def many_images(device: str, count: int) -> None:
    """Run PGD-20 for both goals on ResNet-18 with random weights, beside a plain loop."""
    try:
        data = sample(DataSpec(name="cifar10"), "test", count)
        name = "CIFAR-10"
    except DataError:
        made = f"synthetic:shape=3x32x32,classes=10,train=1,test={count}"
        data = sample(DataSpec(name=made), "test", count)
        name = "random images"
    torch.manual_seed(0)
    net = make_model("resnet18", data.inputs).eval()
    print(f"torch {torch.__version__}, {hardware(device)}; ResNet-18, random weights, {name}")
    clock = Clock(device, float("inf"))
    battery = BatteryConfig(name="risks", steps=20, device=device)
    job = EvalJob.of(data, battery, model_hash="", threat=THREAT)
    with under_test(net, job) as subject:
        for turn in ("first", "warm"):
            clock.run(f"ours, PGD-20 twice, {turn}", "ours", lambda: attacked(subject, job))
        clock.run("plain loop, PGD-20 twice", "plain", lambda: plain(net, data, device))
    print(f"{2 * len(data) / clock.taken['ours'][1]:.0f} perturbed images a second, graphs warm; ")
    print(f"plain loop / ours: {clock.taken['plain'][0] / clock.taken['ours'][1]:.2f} x")


def plain(net: nn.Module, data: Dataset, device: str) -> set[int]:
    """PGD-20 written out, for both goals; ids that the adversary leaves right."""
    left: set[int] = set()
    for sign in (1, -1):
        for ids, x, y in data.batches(WIDTH):
            x, y = x.to(device), y.to(device)
            x_pert = (x + THREAT.eps * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
            for _ in range(20):
                x_pert = x_pert.detach().requires_grad_()
                (grad,) = torch.autograd.grad(F.cross_entropy(net(x_pert), y), x_pert)
                x_pert = x_pert.detach() + sign * THREAT.eps / 4 * grad.sign()
                x_pert = (x + (x_pert - x).clamp(-THREAT.eps, THREAT.eps)).clamp(0, 1)
            with torch.no_grad():
                right = net(x_pert).argmax(1) == y
            if sign == 1:
                left |= set(ids[right.cpu()].tolist())
    return left
