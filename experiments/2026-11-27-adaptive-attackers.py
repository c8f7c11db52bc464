"""The strongest adaptive attack beside a plain loop of the attack that broke Hedge Defense.

    python experiments/2026-11-27-adaptive-attackers.py FOLDER NETS [--parts points plain ...]
        [--nets fastat_small natural_small] [--examples 300] [--chunk 50] [--minutes 45]

NETS is the folder of the checkpoints and their `architectures.py`. Images are drawn from
CIFAR-10's test split, in chunks; a chunk that is in FOLDER is not computed again, so that a run may
be stopped at any time. Parts:

    points   `adaptive-hedge` as every defended battery has it: the points of each of its searches
    plain    the public attack (Croce et al. 2022), in a loop of its own that shares no search code
    mixture  the same searches on the loss of mean probabilities
    steps, targets, draws, inner, choices   one length of `adaptive-hedge` doubled
    bare     the bare net's worst case, tier `escalating` of `ensemble`
    table    the figures, from what is in FOLDER

The defence is the hedge of 20 steps of 4/255 in a ball of 8/255; all points are judged behind the
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
from fftune.config import DataSpec, DefenseConfig, HedgeConfig, ThreatModel
from fftune.data import load
from fftune.data.dataset import Batch
from fftune.defenses import AdaptiveAccess, Hedge
from fftune.evaluation.adaptive import strongest
from fftune.evaluation.batteries import Attack, ensemble
from fftune.evaluation.block import ModelUnderTest, searched
from fftune.evaluation.choice import preferred
from fftune.evaluation.defended import DefenseSet, Effort
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.models import inference_copy

EPS, STEP, INNER, WHOLE = 8 / 255, 4 / 255, 5, 20
THREAT = ThreatModel(eps=EPS)
DEFENSE = DefenseConfig(names=("hedge",), steps=WHOLE, repeats=5)
HEDGE = Hedge(config=HedgeConfig(eps_d=EPS, steps=WHOLE))
JUDGED = 5
"""Fresh draws behind which all points are judged."""


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
    """Where the cross-entropies of all classes sum highest, `steps` from a random point."""
    x = x.detach()
    moved = EPS * (2 * torch.rand(x.shape, generator=draw) - 1)
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
        grad, loss, wrong = torch.zeros_like(at), torch.zeros(len(at)), None
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
    now = inside(x + EPS * (2 * torch.rand(x.shape, generator=behind.draw) - 1))
    grad, loss, wrong = asked(now)
    best, best_loss, best_grad = now.clone(), loss.clone(), grad.clone()
    fooled, fooled_loss = now.clone(), torch.where(wrong, loss, -torch.inf)
    ever, before, size = wrong.clone(), now.clone(), torch.full((len(x),), 2 * EPS)
    history, wait, since = [loss], max(int(0.22 * steps), 1), 0
    checked_loss, cut_before = best_loss.clone(), torch.ones(len(x), dtype=torch.bool)
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
    found, found_loss = x.clone(), torch.full((len(x),), -torch.inf)
    left = torch.arange(len(x))
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
    rate = torch.ones(len(x))
    chosen = points["transfer"].clone()
    for found in points.values():
        with torch.no_grad():
            right = torch.stack([whole(found).argmax(1) == y for _ in range(5)]).float().mean(0)
        chosen[right < rate] = found[right < rate]
        rate = torch.minimum(rate, right)
    spent["choice"] = tally.spent
    return {"points": {**points, "chosen": chosen}, "spent": spent}


# Ours, by the package.


def subject_of(net: nn.Module, copy: nn.Module) -> ModelUnderTest:
    """The net behind the hedge, as the driver hands it to a block."""
    defense_set = DefenseSet.of(DEFENSE, THREAT, source="cifar10", split="test", attacks=1)
    columns = {"dataset_hash": "", "split": "test", "model_hash": ""}
    return ModelUnderTest(
        net=net,
        surrogate=copy,
        surrogate_lowp=copy,
        classes=10,
        columns=columns,
        defense_set=defense_set,
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
    draws = attack.choice.draws
    spent["choice"] = draws * len(points) * len(block[2]) * (2 * WHOLE + 1)
    found = dict(points)
    for name, names in {
        "chosen": tuple(points),
        "published two": tuple(n for n in points if n.startswith("dlr")),
    }.items():
        found[name] = preferred(
            attack.choice,
            subject.surrogate,
            [points[one] for one in names],
            attack.goal,
            label=block[2],
            clean=attempt.clean,
            noise=ExampleNoise(noise, block[0]),
        )
    return {"points": found, "spent": spent}


def variants() -> dict[str, Attack]:
    """`adaptive-hedge`, and with one thing changed at a time."""

    def made(draws: int = DEFENSE.draws, **lengths: int) -> Attack:
        effort = Effort(**lengths)
        return strongest("hedge", HEDGE, "adversarial", THREAT, draws=draws, effort=effort)

    def through(attack: Attack, change: Callable[[AdaptiveAccess], AdaptiveAccess]) -> Attack:
        stages = tuple(
            s if s.access is None else replace(s, access=change(s.access)) for s in attack.stages
        )
        return replace(attack, stages=stages)

    twice = Hedge(config=replace(HEDGE.config, steps=2 * INNER))
    return {
        "points": made(),
        "mixture": through(made(), lambda a: replace(a, averaging="probabilities")),
        "steps": made(steps=100),
        "targets": made(targets=9),
        "draws": made(draws=2 * DEFENSE.draws),
        "inner": through(made(), lambda a: replace(a, defense=twice)),
        "choices": made(choices=10),
    }


def bare(subject: ModelUnderTest, block: Batch, seed: int = 0) -> dict[str, Any]:
    """The bare net's worst case, and its clean answers."""
    attempt = searched(subject, block, ensemble(THREAT, "escalating"), noise_of(seed))
    return {
        "points": {"worst": attempt.x_pert},
        "spent": {"ensemble": int(attempt.counts[:2].sum())},
        "bare right": attempt.pred == block[2],
        "clean right": attempt.clean.argmax(1) == block[2],
    }


def judged(subject: ModelUnderTest, block: Batch, x_pert: Tensor) -> Tensor:
    """(B, JUDGED) bool, right behind fresh draws, which no attacker has seen."""
    assert subject.defense_set is not None
    drawn = subject.defense_set.predictions(subject.net, x_pert, block[0], JUDGED)
    return torch.stack([one.pred == block[2] for one in drawn], 1)


# What is run, and what is said of it.


def main() -> None:
    """Compute the chunks that are not there yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--parts", nargs="*", default=["points", "plain", "bare"])
    parser.add_argument("--nets", nargs="*", default=["fastat_small", "natural_small"])
    parser.add_argument("--examples", type=int, default=300)
    parser.add_argument("--chunk", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=45)
    given = parser.parse_args()
    torch.set_num_threads(1)
    # Few examples would be searched for several targets at once; the loop takes one by one.
    devices._POLICIES["cpu"] = replace(devices.CPU, width=1)
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.parts == ["table"]:
        table(given.folder, given.nets)
        return
    begun = time.process_time()
    for path, part, subject, block in chunks(given):
        if time.process_time() - begun > 60 * given.minutes:
            break
        started = time.process_time()
        found = run(part, subject, block)
        found["cpu seconds"] = time.process_time() - started
        found["ids"], found["y"] = block[0], block[2]
        found["right"] = {n: judged(subject, block, x) for n, x in found["points"].items()}
        torch.save(found, path)
        said = {n: round(float(r.float().mean()), 4) for n, r in found["right"].items()}
        print(path.stem, said, found["spent"], f"{found['cpu seconds']:.0f} s", flush=True)


def run(part: str, subject: ModelUnderTest, block: Batch) -> dict[str, Any]:
    """One part on one chunk."""
    if part == "plain":
        return plain(subject.surrogate, block)
    if part == "bare":
        return bare(subject, block)
    return ours(subject, block, variants()[part])


def chunks(given: argparse.Namespace) -> Iterator[tuple[Path, str, ModelUnderTest, Batch]]:
    """What is missing: chunk by chunk, in each both nets, in each all parts."""
    dataset = load(DataSpec(name="cifar10", validation_size=0), "test")
    drawn = Noise(0).fold("adaptive attackers").permutation(len(dataset))
    subjects = {name: subject_of(*nets(given.source, name)) for name in given.nets}
    for begin in range(0, given.examples, given.chunk):
        rows = drawn[begin : min(begin + given.chunk, given.examples)].sort().values
        block = next(dataset.batches(len(rows), order=rows))
        for name, subject in subjects.items():
            for part in given.parts:
                path = given.folder / f"{name}-{part}-{begin:04}-{len(rows)}.pt"
                if not path.exists():
                    yield path, part, subject, block


def nets(source: Path, name: str) -> tuple[nn.Module, nn.Module]:
    """A checkpoint, frozen, and its fastest copy, which searches of all kinds ask."""
    spec = importlib.util.spec_from_file_location("architectures", source / "architectures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["architectures"] = module
    spec.loader.exec_module(module)
    net = module.load(name).eval().requires_grad_(False)
    few = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return net, inference_copy(net, "fp32", few)


def table(folder: Path, names: list[str]) -> None:
    """Accuracies behind the hedge, passes, and paired differences with 95 % intervals."""
    for net in names:
        have = {path.name: torch.load(path) for path in sorted(folder.glob(f"{net}-*.pt"))}
        parts = sorted({name.removeprefix(f"{net}-").split("-")[0] for name in have})
        base = collected(have, net, "points")
        print(f"{net}")
        for part in parts:
            right, spent, seconds = collected(have, net, part)
            n = len(next(iter(right.values())))
            passes = {k: f"{v / n:.0f}" for k, v in spent.items()}
            print(f"  {part}, n = {n}, passes an image {passes}, {seconds / n:.2f} s an image")
            for name, rate in right.items():
                line = f"    {name}: {100 * rate.mean():.2f} %"
                if base[0] and part not in ("points",):
                    ids = min(n, len(base[0]["chosen"]))
                    gap = base[0]["chosen"][:ids] - rate[:ids]
                    line += f"; ours less this {interval(gap)}"
                print(line)
        two = collected(have, net, "points")[0], collected(have, net, "bare")[0]
        if two[0] and two[1]:
            n = min(len(two[0]["chosen"]), len(two[1]["bare"]))
            gap = two[0]["chosen"][:n] - two[1]["bare"][:n]
            print(f"  hedged less bare worst case: {interval(gap)}, n = {n}")


def collected(
    have: dict[str, Any], net: str, part: str
) -> tuple[dict[str, Tensor], dict[str, int], float]:
    """Shares of the judged draws in which each image is right, passes and CPU seconds."""
    found = [v for k, v in have.items() if k.startswith(f"{net}-{part}-")]
    if not found:
        return {}, {}, 0.0
    right = {
        name: torch.cat([one["right"][name].float().mean(1) for one in found])
        for name in found[0]["right"]
    }
    if part == "bare":
        for name in ("bare right", "clean right"):
            right[name.split()[0]] = torch.cat([one[name].float() for one in found])
    spent = {name: sum(one["spent"][name] for one in found) for name in found[0]["spent"]}
    return right, spent, sum(one["cpu seconds"] for one in found)


def interval(gap: Tensor) -> str:
    """Mean paired difference in points, with a 95 % interval over images."""
    mean, half = 100 * float(gap.mean()), 196 * float(gap.std()) / len(gap) ** 0.5
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f}, n = {len(gap)})"


if __name__ == "__main__":
    main()
