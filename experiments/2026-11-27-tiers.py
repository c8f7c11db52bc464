"""Tiers of the ensembles, chosen by measured gain per pass (greedy, as AutoAE does it).

    python experiments/2026-11-27-tiers.py measure FOLDER --models MODELS --small STORE --tiny STORE
    python experiments/2026-11-27-tiers.py choose FOLDER
    python experiments/2026-11-27-tiers.py test FOLDER --models MODELS --tiny STORE
                                                --overfitted WEIGHTS

MODELS holds published nets and their `architectures.py`; WEIGHTS are of a `small_resnet` that was
overfitted on purpose: FGSM steps of 1.0 eps from x itself, without crops, on 2,000 images of
CIFAR-10, 30 epochs. The stores are those of `fftune reproduce` at scale `small` (CIFAR-10,
ResNet-18 of width 16, 5,000 images) and `tiny` (8 x 8 digits). Whatever is measured is kept in
FOLDER as parquet, and not measured again.

All that follows in capitals, and these rules but for one, were written down before anything was
measured:

- A pass is a forward pass; a gradient is a pass and a backward one, which costs `BACKWARD_COST`.
- Every candidate tries each image alone, with one start, until it fools it; a targeted one aims at
  the likeliest classes one after another. A false friend's candidates come after PGD-20, as in the
  battery `hypocritical`.
- The next search is the candidate with the largest share of newly fooled images for each pass spent
  on images that are not fooled yet, both as means over the nets, which so weigh the same. It must
  newly fool at least `LEAST` images.
- `escalating` ends where no candidate does so, or the best one's share for each pass is below
  `RATE`. Then a search is left out, the last first, if without it the same images are fooled by
  fewer passes.
- `screen` is as much of the beginning as costs an image that withstands it all at most `BUDGET`,
  and leaves out likewise. (As written first, it was the beginning of what `escalating` had left.)
- `full` is not chosen: AutoAttack as published for adversaries, and its like for false friends.
- The new tiers replace the old ones where on the nets of `TEST` they miss no more of what `full`
  finds, for fewer passes; `escalating` is to miss at most 2 of 2,000 images of a net.
"""

import argparse
import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fftune.attacks import attack_spec, success
from fftune.attacks.losses import margin
from fftune.attacks.query_counter import QueryCounter
from fftune.attacks.spec import BACKWARD_COST
from fftune.config import AttackConfig, BatteryConfig, DataSpec, Goal, Loss, ThreatModel, Tier
from fftune.data import Dataset, load
from fftune.data.subset import sample
from fftune.evaluation.batteries import Attack, Scope
from fftune.evaluation.direct import attack_model
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise
from fftune.models import inference_copy
from fftune.models.loading import make_model
from fftune.models.named_net import read_net

LEAST = 2
RATE = 1e-6
BUDGET = {"adversarial": 240, "hypocritical": 180}
"""What an image cost that withstood the `screen` chosen by hand: 80 gradients, and 60."""
IMAGES = 200
"""Images of each net and goal in the choice: right ones for an adversary, wrong ones for a false
friend, evenly spread over the test set; all of them where there are fewer."""
FEWER = {"resnet20": 100}
TESTED = 2000
"""Images of each net in the test, evenly spread over the test set, both goals."""

CHOICE: dict[str, tuple[str, ThreatModel]] = {
    "natural_small": ("cifar10", ThreatModel(eps=8 / 255)),
    "resnet20": ("cifar10", ThreatModel(eps=2 / 255)),
    "wk_mnist_0.1": ("mnist", ThreatModel(eps=0.1)),
    "small/cifar10-resnet18-pgd_at": ("cifar10", ThreatModel(eps=8 / 255)),
    "small/cifar10-resnet18-trades-lambda-6": ("cifar10", ThreatModel(norm="l2", eps=0.5)),
    "small/cifar10-resnet18-thrm-lambda-5": ("cifar10", ThreatModel(eps=8 / 255)),
    "small/cifar10-resnet18-thrm-lambda-40": ("cifar10", ThreatModel(eps=8 / 255)),
    "tiny/tiny-imagenet-resnet18-pgd_at": ("digits-rotated", ThreatModel(eps=0.15)),
}
"""Data set and ball of each net that the tiers are chosen on; the last has 40 classes."""
TEST: dict[str, tuple[str, ThreatModel]] = {
    "fastat_small": ("cifar10", ThreatModel(eps=8 / 255)),
    "cifar_resnet2b": ("cifar10", ThreatModel(eps=2 / 255)),
    "fastadv_mnist_pgd": ("mnist", ThreatModel(eps=0.3)),
    "overfitted": ("cifar10", ThreatModel(eps=8 / 255)),
    "tiny/cifar10-resnet18-pgd_at-l2": ("digits", ThreatModel(norm="l2", eps=0.5)),
}
"""Those that they are tested on; the last is of the digits, by its name in the paper."""

APGD_STEPS = (10, 20, 30, 50, 100)
APGD_LOSSES: tuple[Loss, ...] = ("ce", "dlr", "margin", "probability_margin")
TARGETS = (1, 3, 5, 9)
"""Classes that an adversary's DLR, 0 beside these, and FAB aim at."""
FAB_STEPS = (20, 100)
SQUARE_QUERIES = (1000, 5000)

GOALS: tuple[Goal, ...] = ("adversarial", "hypocritical")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A search that is measured: one of several candidates, which take its first targets."""

    search: str
    loss: Loss
    steps: int
    targets: int = 0

    def __str__(self) -> str:
        aimed = f"-t{self.targets}" if self.targets else ""
        return f"{self.search}-{self.loss}{aimed}-{self.steps}"

    def config(self, threat: ThreatModel) -> AttackConfig:
        """Settings of one of its targets, or of the search without any."""
        return AttackConfig(
            threat=threat,
            search=self.search,
            steps=self.steps,
            targets=min(self.targets, 1),
            start="uniform" if self.search in ("apgd", "pgd") else "none",
            protocol="last_iterate" if self.search == "pgd" else "first_success",
        )


def measured(goal: Goal) -> Iterator[Measured]:
    """All searches of the choice, the cheap and likely ones first."""
    most = max(TARGETS) if goal == "adversarial" else 0
    for loss in APGD_LOSSES:
        yield from (Measured(search="apgd", loss=loss, steps=steps) for steps in APGD_STEPS)
    if most:
        for steps in APGD_STEPS:
            yield Measured(search="apgd", loss="dlr", steps=steps, targets=most)
    for fab, square in zip(FAB_STEPS, SQUARE_QUERIES, strict=True):
        yield Measured(search="fab", loss="margin", steps=fab, targets=most)
        yield Measured(search="square", loss="margin", steps=square)


PGD = Measured(search="pgd", loss="ce", steps=20)
"""What is searched before a false friend's candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nets:
    """Folders that nets are read from."""

    models: Path
    stores: dict[str, Path]
    overfitted: Path

    def read(self, name: str) -> nn.Module:
        """A net of `CHOICE` or `TEST`, in eval mode."""
        if name == "overfitted":
            return small_resnet(self.overfitted)
        store, _, task = name.partition("/")
        if task:
            places = sorted(self.stores[store].glob(f"papers/tasks/net-{task}-seed-0-*/checkpoint"))
            return read_net(str(next(p for p in places if (p / "model.json").is_file())))
        file = self.models / "architectures.py"
        spec = importlib.util.spec_from_file_location("architectures", file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        net: nn.Module = module.load(name)
        return net.eval()


def small_resnet(weights: Path) -> nn.Module:
    """A `SmallResNet` for CIFAR-10 by its state dict."""
    inputs = sample(DataSpec(name="cifar10"), "test", 1).inputs
    net = make_model("small_resnet", inputs)
    net.load_state_dict(torch.load(weights, weights_only=True))
    return net.eval()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """A net, the copy that searches ask, and the images that are tried."""

    net: nn.Module
    copy: nn.Module
    threat: ThreatModel
    ids: Tensor
    x: Tensor
    y: Tensor
    noise: Noise

    @classmethod
    def of(cls, net: nn.Module, data: Dataset, threat: ThreatModel, rows: Tensor) -> "Images":
        ids, x, y = next(data.select(rows, data.split).batches(len(rows)))
        copy = inference_copy(net, "fp32", x[:4])
        noise = Noise(0).fold(data.source.name, data.split)
        return cls(net=net, copy=copy, threat=threat, ids=ids, x=x, y=y, noise=noise)

    def select(self, rows: Tensor) -> "Images":
        return replace(self, ids=self.ids[rows], x=self.x[rows], y=self.y[rows])

    def tried(self, search: Measured, goal: Goal) -> pd.DataFrame:
        """A row for each image and target that is tried: its passes, and whether it was fooled."""
        left, parts = self, []
        for job in range(max(1, search.targets)):
            won, passes = left._searched(search, goal, job)
            row = {"id": left.ids, "job": job, "passes": passes, "won": won}
            parts.append(pd.DataFrame({name: np.asarray(value) for name, value in row.items()}))
            left = left.select((~won).nonzero().flatten())
            if not len(left.y):
                break
        return pd.concat(parts, ignore_index=True)

    def _searched(self, search: Measured, goal: Goal, job: int) -> tuple[Tensor, Tensor]:
        config = search.config(self.threat)
        clean = logits(self.copy, self.x)
        if search.targets:
            clean = led_by(clean, self.y, job)
        counted = QueryCounter(self.copy, clean)
        x_pert = attack_spec(search.search).run(
            *(counted, self.x, self.y),
            config=config,
            goal=goal,
            loss=search.loss,
            noise=self.noise.fold(job) if job else self.noise,
            ids=self.ids,
        )
        passes = counted.forwards + BACKWARD_COST * counted.backwards
        pred = logits(self.net, x_pert).argmax(1)
        return success(goal, pred, clean.argmax(1), self.y), passes


def led_by(clean: Tensor, y: Tensor, job: int) -> Tensor:
    """(N, K) logits whose likeliest class but y is that at place `job` among the others."""
    rivals = clean.scatter(1, y[:, None], -torch.inf).topk(job + 1, dim=1).indices[:, -1:]
    top = clean.amax(1, keepdim=True)
    return clean.scatter(1, y[:, None], top + 2).scatter(1, rivals, top + 1)


def logits(net: nn.Module, x: Tensor) -> Tensor:
    """(N, K) logits."""
    with torch.no_grad():
        return torch.cat([net(part) for part in x.split(256)])


def measure(folder: Path, nets: Nets) -> None:
    """Run every search of the choice on every net, a table each."""
    opened = {name: opened_net(folder, nets, name) for name in CHOICE}
    plan = [(goal, search) for goal in GOALS for search in measured(goal)]
    for goal, search in sorted(plan, key=lambda one: cost(one[1])):
        for name, images in opened.items():
            if len(images[goal].y):
                keep(folder, name, goal, search, images[goal])


def opened_net(folder: Path, nets: Nets, name: str) -> dict[Goal, Images]:
    """Right images of a net for an adversary, and those on which PGD-20 is no false friend."""
    source, threat = CHOICE[name]
    net, data = nets.read(name), load(DataSpec(name=source), "test")
    right = torch.cat([logits(net, x).argmax(1) == y for _, x, y in data.batches(256)])
    few = {}
    for goal, asked in zip(GOALS, (right, ~right), strict=True):
        rows = spread(asked.nonzero().flatten(), FEWER.get(name, IMAGES))
        few[goal] = Images.of(net, data, threat, rows)
    friends = few["hypocritical"]
    concealed = keep(folder, name, "hypocritical", PGD, friends)["won"].to_numpy()
    few["hypocritical"] = friends.select(torch.from_numpy(~concealed).nonzero().flatten())
    return few


def spread(rows: Tensor, count: int) -> Tensor:
    """Evenly spread rows, `count` of them, or all."""
    return rows[torch.arange(count) * len(rows) // count] if count < len(rows) else rows


def keep(folder: Path, name: str, goal: Goal, search: Measured, images: Images) -> pd.DataFrame:
    """The rows of a search on a net, which is run if that was not done before."""
    file = folder / goal / name.replace("/", "-") / f"{search}.parquet"
    if file.exists():
        return pd.read_parquet(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    tried = images.tried(search, goal)
    seconds = time.process_time() - began
    won = int(tried["won"].sum())
    print(f"{goal} {name} {search}: {won} of {len(images.y)}, {seconds:.1f} CPU-s", flush=True)
    tried.assign(seconds=seconds).to_parquet(file)
    return tried


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tries:
    """One candidate on the images of one net."""

    won: NDArray[np.bool_]
    passes: NDArray[np.int64]


Table = dict[Measured, list[Tries]]
"""What each candidate does on each net."""


def candidates(folder: Path, goal: Goal) -> tuple[Table, list[NDArray[np.bool_]]]:
    """All candidates on all nets, and the images of each that are fooled before any is run."""
    table: Table = {}
    before = []
    for name in CHOICE:
        place = folder / goal / name.replace("/", "-")
        if goal == "hypocritical":
            pgd = pd.read_parquet(place / f"{PGD}.parquet")
            before.append(pgd["won"].to_numpy())
            ids = pgd["id"]
        else:
            ids = pd.read_parquet(next(place.iterdir()))["id"].drop_duplicates()
            before.append(np.zeros(len(ids), bool))
        for search in measured(goal):
            file = place / f"{search}.parquet"
            if not file.exists() and not before[-1].all():
                continue
            rows = pd.read_parquet(file) if file.exists() else NOTHING
            for few in [t for t in TARGETS if t <= search.targets] or [0]:
                part = rows[rows["job"] < max(few, 1)].groupby("id")[["won", "passes"]].sum()
                part = part.reindex(ids, fill_value=0)
                tries = Tries(won=part["won"].to_numpy() > 0, passes=part["passes"].to_numpy())
                table.setdefault(replace(search, targets=few), []).append(tries)
    return table, before


NOTHING = pd.DataFrame({"id": [], "job": [], "won": [], "passes": []})


def run_through(
    order: Sequence[Measured], table: Table, before: list[NDArray[np.bool_]]
) -> tuple[list[NDArray[np.bool_]], float]:
    """Images of each net that are fooled in the end, and the passes an image, mean over nets."""
    fooled, passes = before, 0.0
    for search in order:
        passes += mean_passes(table[search], fooled)
        fooled = [old | tries.won for old, tries in zip(fooled, table[search], strict=True)]
    return fooled, passes


def mean_passes(tries: list[Tries], fooled: list[NDArray[np.bool_]]) -> float:
    """Passes an image of a search on what is not fooled yet, mean over the nets."""
    each = zip(tries, fooled, strict=True)
    return float(np.mean([one.passes[~old].sum() / len(old) for one, old in each]))


def greedy(table: Table, before: list[NDArray[np.bool_]]) -> list[Measured]:
    """Searches in the order of their gain, until it is too small; see above."""
    order: list[Measured] = []
    fooled = before
    while True:
        rates = {}
        for search, tries in table.items():
            new = [one.won & ~old for one, old in zip(tries, fooled, strict=True)]
            if sum(int(won.sum()) for won in new) >= LEAST:
                share = float(np.mean([won.mean() for won in new]))
                rates[search] = (share / mean_passes(tries, fooled), share)
        best = max(rates, key=lambda search: rates[search], default=None)
        if best is None or rates[best][0] < RATE:
            return order
        rate, share = rates[best]
        print(f"  {best}: {100 * share:.2f} % more, {rate:.2g} a pass, {cost(best):.0f} passes")
        order.append(best)
        fooled = run_through([best], table, fooled)[0]


def without_idle(
    order: list[Measured], table: Table, before: list[NDArray[np.bool_]]
) -> list[Measured]:
    """Leave out, the last first, what makes the others fool the same images by more passes."""
    for at in reversed(range(len(order))):
        rest = order[:at] + order[at + 1 :]
        fooled, passes = run_through(order, table, before)
        others, fewer = run_through(rest, table, before)
        same = all((a == b).all() for a, b in zip(fooled, others, strict=True))
        if same and fewer < passes:
            print(f"  without {order[at]}: {passes:.0f} -> {fewer:.0f} passes")
            return without_idle(rest, table, before)
    return order


def beginning(order: list[Measured], budget: float) -> list[Measured]:
    """The first searches, as many as an image that withstands them all may cost."""
    spent = np.cumsum([cost(search) for search in order])
    return order[: int((spent <= budget).sum())]


def cost(search: Measured) -> float:
    """Passes of an image that withstands the search."""
    config = AttackConfig(search=search.search, steps=search.steps, targets=search.targets)
    return attack_spec(search.search).cost(config)


def choose(folder: Path) -> None:
    """Choose the tiers; compare them with those chosen by hand."""
    for goal in GOALS:
        table, before = candidates(folder, goal)
        table = {search: tries for search, tries in table.items() if len(tries) == len(CHOICE)}
        images = sum(len(old) for old in before)
        print(f"{goal}: {len(table)} candidates, {images} images of {len(before)} nets")
        order = greedy(table, before)
        first = beginning(order, BUDGET[goal])
        tiers = {
            "escalating": without_idle(order, table, before),
            "screen": without_idle(first, table, before),
        }
        tiers |= {f"{tier} by hand": list(old) for tier, old in BY_HAND[goal].items()}
        tiers["all candidates"] = list(table)
        for tier, searches in tiers.items():
            if not {*searches} <= {*table}:
                print(f"{goal} {tier}: not all of it is measured")
                continue
            fooled, passes = run_through(searches, table, before)
            share = float(np.mean([won.mean() for won in fooled]))
            count = sum(int(won.sum()) for won in fooled)
            told = ", ".join(str(search) for search in searches) if tier != "all candidates" else ""
            print(
                f"{goal} {tier}: {count} fooled, {100 * share:.2f} %, {passes:.0f} passes: {told}"
            )


def apgd(loss: Loss, steps: int, targets: int = 0) -> Measured:
    """A candidate."""
    return Measured(search="apgd", loss=loss, steps=steps, targets=targets)


BY_HAND: dict[Goal, dict[str, tuple[Measured, ...]]] = {
    "adversarial": {
        "escalating": (apgd("ce", 100), apgd("dlr", 50, 9)),
        "screen": (apgd("ce", 20), apgd("dlr", 20, 3)),
        "full": (
            *(apgd("ce", 100), apgd("dlr", 100, 9)),
            Measured(search="fab", loss="margin", steps=100, targets=9),
            Measured(search="square", loss="margin", steps=5000),
        ),
    },
    "hypocritical": {
        "escalating": (apgd("dlr", 50), apgd("margin", 50), apgd("ce", 100)),
        "screen": (apgd("dlr", 20), apgd("margin", 20), apgd("ce", 20)),
        "full": (
            *(apgd("dlr", 100), apgd("margin", 100), apgd("ce", 100)),
            Measured(search="fab", loss="margin", steps=100),
            Measured(search="square", loss="margin", steps=5000),
        ),
    },
}
"""Tiers of version 0.2.0."""
CHOSEN: dict[Goal, dict[str, tuple[Measured, ...]]] = {
    "adversarial": {
        "escalating": (apgd("ce", 10), apgd("margin", 30), apgd("dlr", 10, 5), apgd("dlr", 50, 3)),
        "screen": (apgd("dlr", 10, 3), apgd("ce", 10), apgd("margin", 30)),
    },
    "hypocritical": {
        "escalating": (apgd("dlr", 20), apgd("margin", 10), apgd("dlr", 100)),
        "screen": (apgd("dlr", 20), apgd("margin", 10)),
    },
}
"""What `choose` said; Square, which greed adds last for false friends, is left to the canary."""


def test(
    folder: Path,
    nets: Nets,
    names: Sequence[str],
    images: int,
    most: int | None,
    tiers: Sequence[Tier],
) -> None:
    """Run the tiers by hand and the chosen ones on other nets, and `full` on what they leave.

    Args:
        most: number of survivors on which `full` is run, those that come nearest; None: all.
    """
    for name in names:
        source, threat = TEST[name]
        net, data = nets.read(name), sample(DataSpec(name=source), "test", images)
        for goal in GOALS:
            place = folder / f"test-{images}" / goal / name.replace("/", "-")
            place.mkdir(parents=True, exist_ok=True)
            found = {}
            for tier, searches in tiers_of(goal, tiers).items():
                file = place / f"{'+'.join(str(search) for search in searches)}.parquet"
                found[tier] = attacked(file, net, data, goal, threat, searches)
            left = [of["id"][~of["success"]] for tier, of in found.items() if "screen" not in tier]
            survivors = nearest(net, data, goal, threat, np.unique(np.concatenate(left)), most)
            full = in_full(place, net, data, goal, threat, survivors)
            print(f"full on {len(survivors)} survivors")
            report(name, goal, found, full)


def nearest(
    net: nn.Module,
    data: Dataset,
    goal: Goal,
    threat: ThreatModel,
    left: NDArray[np.int64],
    most: int | None,
) -> NDArray[np.int64]:
    """The images whose margin APGD brings nearest to success, of those with these ids."""
    if most is None or most >= len(left):
        return left
    rows = torch.isin(data.ids, torch.from_numpy(left)).nonzero().flatten()
    images, search = Images.of(net, data, threat, rows), apgd("margin", 30)
    x_pert = attack_spec("apgd").run(
        *(images.copy, images.x, images.y),
        config=search.config(threat),
        goal=goal,
        loss="margin",
        noise=images.noise,
        ids=images.ids,
    )
    away = margin(logits(net, x_pert), images.y).abs()
    return images.ids[away.argsort()[:most]].numpy()


SHORTER: tuple[Tier, ...] = ("screen", "escalating")


def tiers_of(goal: Goal, tiers: Sequence[Tier]) -> dict[str, tuple[Measured, ...]]:
    """The tiers by hand, and those that were chosen."""
    both = {"by hand": BY_HAND, "chosen": CHOSEN}
    return {f"{tier} {kind}": of[goal][tier] for tier in tiers for kind, of in both.items()}


def attacked(
    file: Path,
    net: nn.Module,
    data: Dataset,
    goal: Goal,
    threat: ThreatModel,
    searches: Sequence[Measured],
) -> pd.DataFrame:
    """Rows of an ensemble on the images that are right, or wrong for a false friend."""
    if file.exists():
        return pd.read_parquet(file)
    first = [] if goal == "adversarial" else [PGD]
    stages = tuple(
        AttackStage(config=replace(one.config(threat), targets=one.targets), loss=one.loss)
        for one in [*first, *searches]
    )
    scope: Scope = "all" if goal == "adversarial" else "wrong"
    attack = Attack(name="ensemble", goal=goal, stages=stages, tier="full", scope=scope)
    battery = BatteryConfig(name="ensemble", precision="fp32")
    began = time.process_time()
    rows = attack_model(net, data, battery, [attack]).to_pandas()
    rows["seconds"] = time.process_time() - began
    if goal == "adversarial":
        rows = rows[rows["pred_clean"] == rows["y"]]
    rows["passes"] = rows["forwards"] + BACKWARD_COST * rows["backwards"]
    rows = rows[["id", "success", "passes", "seconds"]]
    rows.to_parquet(file)
    return rows


def in_full(
    place: Path,
    net: nn.Module,
    data: Dataset,
    goal: Goal,
    threat: ThreatModel,
    left: NDArray[np.int64],
) -> pd.DataFrame:
    """Rows of `full` on these images; those that are known are not attacked again."""
    parts = [pd.read_parquet(file) for file in sorted(place.glob("full-*.parquet"))]
    known = np.concatenate([part["id"] for part in parts]) if parts else np.empty(0, np.int64)
    new = np.isin(data.ids.numpy(), np.setdiff1d(left, known))
    if new.any():
        few = data.select(torch.from_numpy(new).nonzero().flatten(), data.split)
        file = place / f"full-{len(parts)}.parquet"
        parts.append(attacked(file, net, few, goal, threat, BY_HAND[goal]["full"]))
    return pd.concat(parts) if parts else pd.DataFrame({"id": [], "success": []})


def report(name: str, goal: Goal, found: dict[str, pd.DataFrame], full: pd.DataFrame) -> None:
    """Print what each tier finds and spends, and what `full` finds that it misses."""
    union = {*full["id"][full["success"].astype(bool)]}
    for tier, rows in found.items():
        if "escalating" in tier:
            union |= {*rows["id"][rows["success"]]}
    for tier, rows in found.items():
        missed = union - {*rows["id"][rows["success"]]}
        told = (
            f"{name}, {goal}, {tier}: {int(rows['success'].sum())} of {len(rows)} fooled, "
            f"{len(missed)} missed, {rows['passes'].mean():.0f} passes, "
            f"{rows['seconds'].iloc[0]:.1f} CPU-s"
        )
        print(told, flush=True)


def main() -> None:
    """Measure, choose or test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=["measure", "choose", "test"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--tiny", type=Path)
    parser.add_argument("--overfitted", type=Path)
    parser.add_argument("--nets", nargs="*", choices=TEST, default=[*TEST])
    parser.add_argument("--images", type=int, default=TESTED)
    parser.add_argument("--most", type=int)
    parser.add_argument("--tiers", nargs="*", choices=SHORTER, default=SHORTER)
    given = parser.parse_args()
    torch.set_num_threads(1)
    nets = Nets(
        models=given.models,
        stores={"small": given.small, "tiny": given.tiny},
        overfitted=given.overfitted,
    )
    if given.study == "measure":
        measure(given.folder, nets)
    elif given.study == "choose":
        choose(given.folder)
    else:
        test(given.folder, nets, given.nets, given.images, given.most, given.tiers)


if __name__ == "__main__":
    main()
