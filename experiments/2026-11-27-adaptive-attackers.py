"""The strongest adaptive attack beside a plain loop of the attack that broke Hedge Defense.

    python experiments/2026-11-27-adaptive-attackers.py FOLDER NETS [--parts points plain ...]
        [--nets fastat_small natural_small] [--examples 1000] [--chunk 1000] [--device cuda]
        [--images FILE] [--minutes 45]

NETS is the folder of the checkpoints and their `architectures.py`. Images are drawn from
CIFAR-10's test split, in chunks; a chunk that is in FOLDER is not computed again, so that a run may
be stopped at any time. `--images FILE` keeps the images in a file, or reads them from there. Parts:

    points   `adaptive-hedge` as every defended battery has it: the points of each of its searches
    plain    the public attack (Croce et al. 2022), in a loop of its own that shares no search code
    mixture  the same searches on the loss of mean probabilities
    steps, targets, draws, inner, choices   one length of `adaptive-hedge` doubled
    eot      PGD-20 on the cross-entropy of mean probabilities, through all 20 steps of the hedge
    friends  the strongest false friend
    bare     the bare net's worst case, tier `escalating` of `ensemble`
    void     a defense that hides gradients and nothing else
    smoothing, bare_l2   randomised smoothing and the bare net in l_2, beside the certificate
    table    the figures, from what is in FOLDER

The defense is the hedge of 20 steps of 4/255 in a ball of 8/255; all points are judged behind the
same fresh draws. Passes are forward and backward ones, counted around the net.
"""

import argparse
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fftune import devices
from fftune.attacks.query_counter import QueryCounter
from fftune.certified.smoothing import certify
from fftune.config import (
    AttackConfig,
    DataSpec,
    DefenseConfig,
    Goal,
    HedgeConfig,
    SmoothingConfig,
    ThreatModel,
)
from fftune.data import load
from fftune.data.dataset import Batch
from fftune.defenses import AdaptiveAccess, Defense, Hedge
from fftune.defenses.smoothing import Smoothing
from fftune.evaluation.adaptive import strongest
from fftune.evaluation.batteries import Attack, ensemble
from fftune.evaluation.block import searched
from fftune.evaluation.choice import Choice, preferred
from fftune.evaluation.defended import DefenseSet, Effort
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import inference_copy

EPS, STEP, INNER, WHOLE = 8 / 255, 4 / 255, 5, 20
THREAT, ROUND = ThreatModel(eps=EPS), ThreatModel(norm="l2", eps=0.125)
DRAWS = DefenseConfig().draws
HEDGE = Hedge(config=HedgeConfig(eps_d=EPS, steps=WHOLE))
SMOOTHING = Smoothing(config=SmoothingConfig(sigma=0.12))
JUDGED = 5
"""Fresh draws behind which all points are judged."""
CERTIFYING = 1000
"""Votes of a certificate."""


# The public attack, by a loop of its own.


class Tally:
    """A net that counts the images of all its passes."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.spent = net, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.spent += len(x) * (2 if x.requires_grad else 1)
        logits: Tensor = self.net(x)
        return logits


def plain_hedge(net: Tally, x: Tensor, steps: int, draw: torch.Generator) -> Tensor:
    """Climb the sum of all classes' cross-entropies, `steps` from a random point."""
    x = x.detach()
    moved = EPS * (2 * torch.rand(x.shape, generator=draw).to(x) - 1)
    for _ in range(steps):
        leaf = (x + moved).requires_grad_()
        with torch.enable_grad():
            rise = -net(leaf).log_softmax(1).sum()
            (grad,) = torch.autograd.grad(rise, leaf)
        moved = (moved + STEP * grad.sign()).clamp(-EPS, EPS)
        moved = (x + moved).clamp(0, 1) - x
    return moved


@dataclass
class Through:
    """A net behind a hedge of so many steps, straight through on the way back."""

    net: Tally
    steps: int | None
    draw: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        if self.steps is None:
            return self.net(x)
        return self.net(x + plain_hedge(self.net, x, self.steps, self.draw))


def targeted_dlr(z: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)."""
    top = z.sort(1, descending=True).values
    lead = z.gather(1, target[:, None]) - z.gather(1, y[:, None])
    return lead.squeeze(1) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


def plain_apgd(
    behind: Through, x: Tensor, y: Tensor, target: Tensor, steps: int, draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Points of highest loss and their losses, and the misclassified ones of highest loss.

    Loss and gradient are sums over draws; whether an iterate is misclassified is the first's say.
    """

    def asked(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        grad, loss, wrong = torch.zeros_like(at), at.new_zeros(len(at)), None
        for _ in range(draws):
            leaf = at.detach().clone().requires_grad_()
            z = behind(leaf)
            each = targeted_dlr(z, y, target)
            grad += torch.autograd.grad(each.sum(), leaf)[0]
            loss += each.detach()
            wrong = z.detach().argmax(1) != y if wrong is None else wrong
        assert wrong is not None
        return grad, loss, wrong

    def inside(at: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(at, x - EPS), x + EPS).clamp(0, 1)

    wide = (-1, 1, 1, 1)
    start = 2 * torch.rand(x.shape, generator=behind.draw).to(x) - 1
    now = inside(x + EPS * start)
    grad, loss, wrong = asked(now)
    best, best_loss, best_grad = now.clone(), loss.clone(), grad.clone()
    fooled, fooled_loss = now.clone(), torch.where(wrong, loss, -torch.inf)
    ever, before, size = wrong.clone(), now.clone(), torch.full_like(loss, 2 * EPS)
    history, wait, since = [loss], max(int(0.22 * steps), 1), 0
    checked_loss, cut_before = best_loss.clone(), torch.ones_like(wrong)
    for step in range(steps):
        ahead = inside(now + size.view(wide) * grad.sign())
        if step:
            ahead = inside(now + 0.75 * (ahead - now) + 0.25 * (now - before))
        before, now = now, ahead
        grad, loss, wrong = asked(now)
        kept = wrong & (~ever | (loss > fooled_loss))
        fooled[kept], fooled_loss[kept] = now[kept], loss[kept]
        ever |= wrong
        up = loss > best_loss
        best[up], best_loss[up], best_grad[up] = now[up], loss[up], grad[up]
        history.append(loss)
        since += 1
        if since == wait:
            rises = sum((history[-k] > history[-k - 1]).float() for k in range(1, wait + 1))
            stuck = ~cut_before & (checked_loss >= best_loss)
            cut = (rises <= 0.75 * wait) | stuck
            size = torch.where(cut, size / 2, size)
            now = torch.where(cut.view(wide), best, now)
            grad = torch.where(cut.view(wide), best_grad, grad)
            cut_before, checked_loss = cut, best_loss.clone()
            since, wait = 0, max(wait - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return best, best_loss, fooled


def plain_restarts(
    behind: Through, x: Tensor, y: Tensor, *, restarts: int, steps: int, draws: int
) -> Tensor:
    """A restart for each of the next likeliest classes; who is fooled takes no further one."""
    with torch.no_grad():
        order = behind(x).sort(1, descending=True).indices
    found, found_loss = x.clone(), torch.full_like(x[:, 0, 0, 0], -torch.inf)
    left = torch.arange(len(x), device=x.device)
    for restart in range(restarts):
        if not len(left):
            break
        target = order[left, 1 + restart % (order.shape[1] - 1)]
        best, loss, fooled = plain_apgd(behind, x[left], y[left], target, steps, draws)
        with torch.no_grad():
            still = behind(fooled).argmax(1) == y[left]
        found[left[~still]] = fooled[~still]
        better = still & (loss > found_loss[left])
        found[left[better]], found_loss[left[better]] = best[better], loss[better]
        left = left[still]
    return found


def plain(net: nn.Module, block: Batch, seed: int = 0) -> dict[str, Any]:
    """Both sets of points of the public attack, and the worse of them over 5 draws."""
    ids, x, y = block
    draw = torch.Generator().manual_seed(1_000_003 * seed + int(ids[0]))
    tally = Tally(net)
    points, spent = {}, {}
    for name, behind, draws in (
        ("adaptive", Through(tally, INNER, draw), 4),
        ("transfer", Through(tally, None, draw), 1),
    ):
        tally.spent = 0
        points[name] = plain_restarts(behind, x, y, restarts=5, steps=50, draws=draws)
        spent[name] = tally.spent
    tally.spent, whole = 0, Through(tally, WHOLE, draw)
    rate = torch.ones_like(x[:, 0, 0, 0])
    chosen = points["transfer"].clone()
    for found in points.values():
        with torch.no_grad():
            right = torch.stack([whole(found).argmax(1) == y for _ in range(5)]).float().mean(0)
        chosen[right < rate] = found[right < rate]
        rate = torch.minimum(rate, right)
    spent["choice"] = tally.spent
    return {"points": {**points, "chosen": chosen}, "spent": spent}


# Ours, by the package.


@dataclass(frozen=True, slots=True, kw_only=True)
class Void(Defense):
    """A defense that changes nothing and hides the gradient."""

    def wrap(self, model: nn.Module, x: Tensor, *, noise: Noise, ids: Tensor) -> Tensor:
        """(B, K), the net's logits without their gradient."""
        logits: Tensor = model(x).detach()
        return logits


def subject_of(net: nn.Module, copy: nn.Module, defense: Defense, device: str) -> ModelUnderTest:
    """The net behind a defense, as the driver hands it to a block."""
    defense_set = DefenseSet(
        defenses={"defense": defense},
        repeats=JUDGED,
        control=JUDGED,
        noise=Noise(0).fold("defense", "cifar10", "test"),
        draws=DRAWS,
    )
    columns = {"dataset_hash": "", "split": "test", "model_hash": ""}
    return ModelUnderTest(
        net=net,
        surrogate=copy,
        surrogate_lowp=copy,
        classes=10,
        columns=columns,
        defense_set=defense_set,
        device=device,
    )


def noise_of(seed: int) -> Noise:
    """The attackers' noise."""
    return Noise(seed).fold("cifar10", "test")


def ours(subject: ModelUnderTest, block: Batch, attack: Attack, seed: int = 0) -> dict[str, Any]:
    """The points of each search, and the one that the attacker prefers, of several choices."""
    assert attack.choice is not None
    noise, points, spent = noise_of(seed), {}, {}
    for stage in attack.stages:
        alone = replace(attack, stages=(stage,), choice=None)
        attempt = searched(subject, block, alone, noise)
        name = f"{stage.loss} {'bare' if stage.access is None else 'through'}"
        points[name] = attempt.x_pert
        spent[name] = int(attempt.counts[:2].sum())
    found = dict(points)
    two = [name for name in points if name.startswith("dlr")]
    for name, names in {"published two": two or [*points], "chosen": [*points]}.items():
        counted = QueryCounter(subject.surrogate, attempt.clean)
        found[name] = preferred(
            attack.choice,
            counted,
            [points[one] for one in names],
            attack.goal,
            label=block[2],
            clean=attempt.clean,
            noise=ExampleNoise(noise, block[0]),
        )
        spent[f"choice of {name}"] = int(counted.counts[:2].sum())
    return {"points": found, "spent": spent}


def of_defense(
    defense: Defense = HEDGE,
    *,
    goal: Goal = "adversarial",
    threat: ThreatModel = THREAT,
    draws: int = DRAWS,
    **lengths: int,
) -> Attack:
    """The strongest attack of a defense."""
    effort = Effort(**lengths)
    return strongest("defense", defense, goal, threat, draws=draws, effort=effort)


def through(attack: Attack, change: Callable[[AdaptiveAccess], AdaptiveAccess]) -> Attack:
    """The attack with another access."""
    stages = [s if s.access is None else replace(s, access=change(s.access)) for s in attack.stages]
    return replace(attack, stages=tuple(stages))


def eot() -> Attack:
    """The strongest adaptive attack of before, with as good a choice."""
    config = AttackConfig(threat=THREAT, steps=20, step_size=EPS / 4)
    stage = AttackStage(config=config, loss="ce", access=AdaptiveAccess(defense=HEDGE, draws=DRAWS))
    choice = Choice(defense=HEDGE, draws=1)
    return Attack(name="eot-hedge", goal="adversarial", stages=(stage,), choice=choice)


TWICE = Hedge(config=replace(HEDGE.config, steps=2 * INNER))
PARTS: dict[str, tuple[Defense, Attack]] = {
    "points": (HEDGE, of_defense()),
    "mixture": (HEDGE, through(of_defense(), lambda a: replace(a, averaging="probabilities"))),
    "steps": (HEDGE, of_defense(steps=100)),
    "targets": (HEDGE, of_defense(targets=9)),
    "draws": (HEDGE, of_defense(draws=2 * DRAWS)),
    "inner": (HEDGE, through(of_defense(), lambda a: replace(a, defense=TWICE, cheaply=False))),
    "choices": (HEDGE, of_defense(choices=10)),
    "eot": (HEDGE, eot()),
    "friends": (HEDGE, of_defense(goal="hypocritical")),
    "void": (Void(), of_defense(Void(), draws=1, choices=1)),
    "smoothing": (SMOOTHING, of_defense(SMOOTHING, threat=ROUND)),
}
OTHERS = {"plain": HEDGE, "bare": HEDGE, "bare_l2": SMOOTHING}


def bare(subject: ModelUnderTest, block: Batch, threat: ThreatModel) -> dict[str, Any]:
    """The bare net's worst case, and its clean answers."""
    attempt = searched(subject, block, ensemble(threat, "escalating"), noise_of(0))
    return {
        "points": {"worst": attempt.x_pert},
        "spent": {"ensemble": int(attempt.counts[:2].sum())},
        "right of bare": (attempt.pred == block[2]).cpu(),
        "right of clean": (attempt.clean.argmax(1) == block[2]).cpu(),
    }


def judged(subject: ModelUnderTest, block: Batch, x_pert: Tensor) -> Tensor:
    """(B, JUDGED) bool, right behind fresh draws, which no attacker has seen."""
    assert subject.defense_set is not None
    drawn = subject.defense_set.predictions(subject.net, x_pert, block[0], JUDGED)
    return torch.stack([one.pred == block[2] for one in drawn], 1).cpu()


# What is run, and what is said of it.


def main() -> None:
    """Compute the chunks that are not there yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--parts", nargs="*", default=["points", *OTHERS, *list(PARTS)[1:]])
    parser.add_argument("--nets", nargs="*", default=["fastat_small", "natural_small"])
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--chunk", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    # Few examples would be searched for several targets at once; the loop takes one by one.
    for kind in ("cpu", "cuda"):
        devices._POLICIES[kind] = replace(devices.policy(kind), width=1, buckets=())
    given.folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    for path, part, subject, block in chunks(given) if given.parts != ["table"] else ():
        if time.perf_counter() - begun > 60 * given.minutes:
            break
        started, cpu = time.perf_counter(), time.process_time()
        found = run(part, subject, block)
        found["right"] = {n: judged(subject, block, x) for n, x in found["points"].items()}
        found["right"]["clean"] = judged(subject, block, block[1])
        found["points"] = {n: x.cpu() for n, x in found["points"].items()}
        found["ids"], found["y"] = block[0].cpu(), block[2].cpu()
        found["seconds"] = time.perf_counter() - started
        found["cpu seconds"] = time.process_time() - cpu
        torch.save(found, path)
        said = {n: round(float(r.float().mean()), 4) for n, r in found["right"].items()}
        print(path.stem, said, found["spent"], f"{found['seconds']:.0f} s", flush=True)
    table(given.folder, given.nets)


def run(part: str, subject: ModelUnderTest, block: Batch) -> dict[str, Any]:
    """One part on one chunk."""
    if part == "plain":
        return plain(subject.surrogate, block)
    if part.startswith("bare"):
        return bare(subject, block, THREAT if part == "bare" else ROUND)
    found = ours(subject, block, PARTS[part][1])
    if part == "smoothing":
        config = replace(SMOOTHING.config, votes=CERTIFYING)
        noise = Noise(0).fold("certificate")
        pred, radius = certify(
            subject.surrogate, block[1], config=config, noise=noise, ids=block[0]
        )
        found["right of certificate"] = (pred.cpu() == block[2].cpu()) & (radius >= ROUND.eps)
    return found


def chunks(given: argparse.Namespace) -> Iterator[tuple[Path, str, ModelUnderTest, Batch]]:
    """Missing chunks: part by part, in each both nets, in each all chunks."""
    images = images_of(given.images, given.examples)
    loaded = {name: nets(given.source, name, given.device) for name in given.nets}
    for part in given.parts:
        defense = OTHERS[part] if part in OTHERS else PARTS[part][0]
        for name, (net, copy) in loaded.items():
            subject = subject_of(net, copy, defense, given.device)
            for begin in range(0, given.examples, given.chunk):
                ids, x, y = (v[begin : min(begin + given.chunk, given.examples)] for v in images)
                path = given.folder / f"{name}-{part}-{begin:04}-{len(ids)}.pt"
                if not path.exists():
                    block = ids.to(given.device), x.to(given.device), y.to(given.device)
                    yield path, part, subject, block


def images_of(file: Path | None, examples: int) -> Batch:
    """Ids, images and labels, drawn from CIFAR-10's test split or kept in a file."""
    if file is not None and file.exists():
        ids, pixels, y = torch.load(file)
    else:
        dataset = load(DataSpec(name="cifar10", validation_size=0), "test")
        rows = Noise(0).fold("adaptive attackers").permutation(len(dataset))[:examples]
        ids, x, y = next(dataset.batches(len(rows), order=rows))
        pixels = (x * 255).round().to(torch.uint8)
        if file is not None:
            torch.save((ids, pixels, y), file)
    return ids[:examples], pixels[:examples].float() / 255, y[:examples]


def nets(source: Path, name: str, device: str) -> tuple[nn.Module, nn.Module]:
    """A checkpoint, frozen, and its fastest copy, which searches of all kinds ask."""
    spec = importlib.util.spec_from_file_location("architectures", source / "architectures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["architectures"] = module
    spec.loader.exec_module(module)
    net = module.load(name).eval().requires_grad_(False).to(device)
    few = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    return net, inference_copy(net, "fp32", few)


def table(folder: Path, names: list[str]) -> None:
    """Accuracies, passes, and paired differences with 95 % intervals over images."""
    for net in names:
        have = {path.name: torch.load(path) for path in sorted(folder.glob(f"{net}-*.pt"))}
        parts = dict.fromkeys(name.removeprefix(f"{net}-").split("-")[0] for name in have)
        base = collected(have, net, "points")[0]
        print(f"\n{net}")
        for part in parts:
            right, spent, seconds = collected(have, net, part)
            n = len(right["clean"])
            passes = ", ".join(f"{k} {v / n:.0f}" for k, v in spent.items())
            print(f"  {part}, n = {n}; passes an image: {passes}; {seconds:.0f} s")
            for name, rate in right.items():
                line = f"    {name}: {100 * rate.mean():.2f} %"
                if base and part not in ("points", "friends", "void", "smoothing", "bare_l2"):
                    line += f"; ours less this {interval(base['chosen'], rate)}"
                if part == "friends":
                    own = rate[right["clean"] < 0.5]
                    line += f"; of {len(own)} own mistakes {100 * own.mean():.2f} %"
                print(line)
        if base and (bare_too := collected(have, net, "bare")[0]):
            gap = interval(base["chosen"], bare_too["bare"])
            print(f"  hedged worst case less the bare net's: {gap}")


def collected(
    have: dict[str, Any], net: str, part: str
) -> tuple[dict[str, Tensor], dict[str, int], float]:
    """Shares of the judged draws in which each image is right, passes and seconds."""
    found = [v for k, v in have.items() if k.startswith(f"{net}-{part}-")]
    if not found:
        return {}, {}, 0.0
    right = {
        name: torch.cat([one["right"][name].float().mean(1) for one in found])
        for name in found[0]["right"]
    }
    for name in found[0]:
        if name.startswith("right of "):
            of = name.removeprefix("right of ")
            right[of] = torch.cat([one[name].float() for one in found])
    spent = {name: sum(one["spent"][name] for one in found) for name in found[0]["spent"]}
    return right, spent, sum(one["seconds"] for one in found)


def interval(one: Tensor, two: Tensor) -> str:
    """Mean paired difference in points, with a 95 % interval, over the images that both have."""
    n = min(len(one), len(two))
    gap = one[:n] - two[:n]
    mean, half = 100 * float(gap.mean()), 196 * float(gap.std()) / n**0.5
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f}, n = {n})"


if __name__ == "__main__":
    main()
