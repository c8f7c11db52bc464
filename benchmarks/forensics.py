"""Power and false alarms of `fftune data inspect SET --net NET --clean HELD_OUT`, as a table.

Images are parted in two: held-out ones, which fit and calibrate the detector as the command does,
and a pool that neither sees, from which sets are drawn. In a touched set a friend has touched a
share of D-, saved as 8 bits; where it fails it leaves the clean image. A clean set is drawn as it
is, or shifted.

    python benchmarks/forensics.py --net FILE.py:FUNCTION --data cifar10
    python benchmarks/forensics.py                       # digits, with a net that is trained here
"""

import argparse
import time

import torch
from torch import Tensor, nn

from fftune.config import DataSpec, ThreatModel
from fftune.data import Dataset
from fftune.data.catalog import load
from fftune.forensics.detector import Auc
from fftune.forensics.friends import KINDS, Craft
from fftune.forensics.inspection import Bench
from fftune.forensics.record import InspectConfig
from fftune.forensics.share import threshold
from fftune.forensics.shifts import AS_IS, SHIFTS
from fftune.forensics.traces import NAMES, measured, traces
from fftune.keyed_noise import Noise
from fftune.models import inference_copy
from fftune.models.loading import loaded
from fftune.models.specs import named_spec
from fftune.risk import Rate

SHARES = (0.01, 0.05, 0.2, 1.0)
"""Shares of D- that are touched."""


def main() -> None:
    """Parse, measure, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", default="", help="FILE.py:FUNCTION; default a net for digits")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--eps", type=float, default=None, help="default 8/255; digits 0.1")
    parser.add_argument("--clean", type=int, default=1800, help="held-out images, at most 3/5")
    parser.add_argument("--pool", type=int, default=1200, help="images that sets are drawn from")
    parser.add_argument("--size", type=int, default=1000, help="images of a set")
    parser.add_argument("--friends", type=int, default=100, help="friends of each fit")
    parser.add_argument("--touched", type=int, default=250, help="most D- touched in the pool")
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    net, data = _net_and_data(asked.net, asked.data, asked.seed)
    held = min(asked.clean, 3 * len(data) // 5)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(asked.seed))
    clean = data.select(order[:held], "test")
    pool = data.select(order[held : held + asked.pool], "test")
    eps = asked.eps or (0.1 if asked.data == "digits" else 8 / 255)
    config = InspectConfig(
        threat=ThreatModel(eps=eps), friends=asked.friends, sets=asked.sets, seed=asked.seed
    )
    net = inference_copy(net.eval().requires_grad_(False), "fp32", next(data.batches(4))[1])
    bench = Bench.of(net, clean, config)
    size = min(asked.size, 5 * len(pool) // 6)
    print(
        f"{asked.net.rpartition(':')[2] or 'small net'} on {data.source.name}, linf eps {eps:.4g}: "
        f"{held:,} held-out images, {asked.sets} sets of {size:,} of {len(pool):,} others, seed "
        f"{asked.seed}"
    )
    _measure(bench, pool, size, asked.touched)
    print(f"\n{time.process_time() - began:.0f} CPU-seconds")


def _measure(bench: Bench, pool: Dataset, size: int, most: int) -> None:
    ids, x, y = next(pool.batches(len(pool)))
    seen = traces(bench.net, x, y, bench.whitening)
    wrong = (~seen.right).nonzero().flatten()
    tried = wrong[:most]
    craft = Craft(
        net=bench.net,
        threat=bench.config.threat,
        noise=Noise(bench.config.seed).fold("pool"),
        margins=seen.values[seen.right][:, NAMES.index("margin")],
        score=lambda x, y: bench.detector(measured(bench.net, x, y, bench.whitening)),
    )
    clean = bench.detector(seen.values)
    nulls = bench.calibrated(round(size * float(seen.right.float().mean())))
    bars = {"every kind": max(map(threshold, nulls.values())), AS_IS: threshold(nulls[AS_IS])}
    draws = torch.Generator().manual_seed(bench.config.seed + 1)
    sets = [torch.randperm(len(pool), generator=draws)[:size] for _ in range(bench.config.sets)]
    print("\n| friend | conceals | AUC | calibrated on | ", end="")
    print(" | ".join(f"{s:.0%} of D-" for s in SHARES), "| smallest share, power .8 |")
    print("|---" * (5 + len(SHARES)) + "|")
    for kind in KINDS:
        points = craft.stored(kind, x[tried], y[tried], ids[tried])
        found = traces(bench.net, points, y[tried], bench.whitening)
        own = bench.detector(found.values)[found.right]
        rate = Rate(len(own), len(tried))
        auc = Auc.of(clean[seen.right], own)
        low, high = auc.interval
        cells = [kind, _told(rate), f"{auc.value:.4f} ({low:.4f} to {high:.4f})"]
        for word, bar in bars.items():
            power = [_power(bench, sets, clean, seen.right, own, rate, s, bar) for s in SHARES]
            least = _least(bench, sets, clean, seen.right, own, bar)
            print("|", " | ".join([*cells, word, *power, least]), "|", flush=True)
            cells = ["", "", ""]
    print("\n| clean sets | right | false alarms, every kind | false alarms, as they are |")
    print("|---|---|---|---|")
    for kind, shift in SHIFTS.items():
        shifted = seen if kind == AS_IS else traces(bench.net, shift(x), y, bench.whitening)
        scores = bench.detector(shifted.values)
        mixture = bench.mixture
        drawn = (mixture.counts(scores[rows][shifted.right[rows]]) for rows in sets)
        ratios = [float(mixture.ratio(counts)) for counts in drawn]
        alarms = [Rate(sum(one > bar for one in ratios), len(sets)) for bar in bars.values()]
        right = Rate(int(shifted.right.sum()), len(pool))
        print(f"| {kind} | {_told(right)} | {' | '.join(map(_told, alarms))} |", flush=True)


def _power(
    bench: Bench,
    sets: list[Tensor],
    clean: Tensor,
    right: Tensor,
    own: Tensor,
    success: Rate,
    share: float,
    bar: float,
) -> str:
    """Power against a friend who touches this share of each set's mistakes.

    Scores of touched images are drawn from those of the pool, as often as the friend succeeds.
    """
    draws = torch.Generator().manual_seed(bench.config.seed + 2)
    hits, counts = 0, []
    for rows in sets:
        mistakes = int((~right[rows]).sum())
        tried = max(1, round(share * mistakes))
        count = int((torch.rand(tried, generator=draws) < success.value).sum())
        counts.append(count)
        touched = own[torch.randint(len(own), (count,), generator=draws)] if len(own) else own
        scores = torch.cat([clean[rows][right[rows]], touched])
        hits += float(bench.mixture.ratio(bench.mixture.counts(scores))) > bar
    mean = sum(counts) / len(counts)
    return f"{_told(Rate(hits, len(sets)))}, {mean:.1f} images"


def _least(
    bench: Bench, sets: list[Tensor], clean: Tensor, right: Tensor, own: Tensor, bar: float
) -> str:
    """Smallest number of touched images in a set that is found with power .8, by bisection."""

    def found(count: int) -> bool:
        draws = torch.Generator().manual_seed(bench.config.seed + 3)
        hits = 0
        for rows in sets:
            touched = own[torch.randint(len(own), (count,), generator=draws)]
            scores = torch.cat([clean[rows][right[rows]], touched])
            hits += float(bench.mixture.ratio(bench.mixture.counts(scores))) > bar
        return hits >= 0.8 * len(sets)

    low, high = 0, len(sets[0])
    if not len(own) or not found(high):
        return "none"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return f"{high / len(sets[0]):.1%} ({high} images)"


def _told(rate: Rate) -> str:
    low, high = rate.interval
    return f"{rate.value:.0%} ({low:.0%} to {high:.0%})"


def _net_and_data(name: str, data: str, seed: int) -> tuple[nn.Module, Dataset]:
    if name:
        return loaded(named_spec(name)).net, load(DataSpec(name=data), "test")
    spec = DataSpec(name="digits", train_size=100, validation_size=0)
    return _small_net(load(spec, "train"), seed), load(spec, "test")


def _small_net(train: Dataset, seed: int) -> nn.Module:
    """A net for 8 x 8 digits of 100 examples, which makes mistakes."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    _, x, y = next(train.batches(len(train)))
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net


if __name__ == "__main__":
    main()
