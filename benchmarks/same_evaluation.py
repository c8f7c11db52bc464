"""One evaluation written in each library: lines of code, CPU seconds, and what is found.

    python benchmarks/same_evaluation.py --models FOLDER [--net NAME] [--images 200]
                                         [--records FILE] [--only LIBRARY ...] [--write]

PGD-20 and the published AutoAttack (Croce and Hein 2020) on the first images of CIFAR-10's test
set, evenly spread, in l_inf of radius 8/255, in each library as its users write it: the functions
below are what is counted, line by line. All have the same net, images, steps, step length, start
and one thread, each in a process of its own. One rule judges the points of all: an image counts as
robust unless the point lies in the ball and in [0, 1] and the net gets it wrong. `--records` keeps
what was run; `--write` writes `library.md` beside this file from it. Libraries that are not
installed are passed over; `autoattack` is on no registry, its folder belongs on `PYTHONPATH`.
"""

import argparse
import hashlib
import importlib.util
import inspect
import json
import multiprocessing
import pickle
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from arguments import whole
from rivals import seconds_used
from torch import Tensor, nn

EPS = 8 / 255
PAGE = Path(__file__).with_name("library.md")


def pgd_foolbox(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(steps=20, abs_stepsize=EPS / 4)
    _, x_adv, _ = attack(model, x, y, epsilons=EPS)
    return x_adv


def pgd_torchattacks(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    import torchattacks

    return torchattacks.PGD(net, eps=EPS, alpha=EPS / 4, steps=20)(x, y)


def autoattack_torchattacks(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    import torchattacks

    return torchattacks.AutoAttack(net, eps=EPS, n_classes=10, seed=0)(x, y)


def pgd_art(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    loss = nn.CrossEntropyLoss()
    model = PyTorchClassifier(net, loss, x.shape[1:], 10, clip_values=(0, 1), device_type="cpu")
    attack = ProjectedGradientDescent(
        model, eps=EPS, eps_step=EPS / 4, max_iter=20, num_random_init=1, verbose=False
    )
    return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def autoattack_art(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from art.attacks.evasion import AutoAttack
    from art.estimators.classification import PyTorchClassifier

    loss = nn.CrossEntropyLoss()
    model = PyTorchClassifier(net, loss, x.shape[1:], 10, clip_values=(0, 1), device_type="cpu")
    attack = AutoAttack(model, eps=EPS, eps_step=2 * EPS, batch_size=len(x))
    return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def pgd_adv_lib(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from adv_lib.attacks import pgd_linf

    return pgd_linf(net, x, y, EPS, steps=20, absolute_step_size=EPS / 4, random_init=True)


def autoattack_autoattack(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    from autoattack import AutoAttack

    attack = AutoAttack(net, norm="Linf", eps=EPS, seed=0, device="cpu", verbose=False)
    return attack.run_standard_evaluation(x, y, bs=len(x))


def pgd_fftune(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    import fftune as ff

    config = ff.AttackConfig(threat=ff.ThreatModel(eps=EPS), steps=20, step_size=EPS / 4)
    noise, ids = ff.Noise(0), torch.arange(len(x))
    return ff.pgd(net, x, y, config=config, goal="adversarial", loss="ce", noise=noise, ids=ids)


def autoattack_robustbench(net: nn.Module, x: Tensor, y: Tensor) -> float:
    from robustbench.eval import benchmark

    return float(benchmark(net, len(x), data_dir=cifar_folder(x, y), eps=EPS, batch_size=200)[1])


def autoattack_fftune(net: nn.Module, x: Tensor, y: Tensor) -> float:
    import fftune as ff

    result = ff.evaluate(net, (x, y), battery="autoattack", eps=EPS)
    return result.risks().robust_accuracy.value


Evaluation = Callable[[nn.Module, Tensor, Tensor], Tensor | float]
"""Points that the attack hands over, or the share of images that are robust."""


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library, its package, its evaluations, and what it lacks for this one."""

    package: str
    pgd: Evaluation | None = None
    autoattack: Evaluation | None = None
    lacks: str


LIBRARIES = {
    "foolbox": Library(
        package="foolbox",
        pgd=pgd_foolbox,
        lacks="no AutoAttack, APGD, FAB or Square; targeted attacks stand in for false friends",
    ),
    "torchattacks": Library(
        package="torchattacks",
        pgd=pgd_torchattacks,
        autoattack=autoattack_torchattacks,
        lacks="points alone: no rates, intervals or record of who broke what; targeted PGD and "
        "Square stand in for false friends",
    ),
    "ART": Library(
        package="adversarial-robustness-toolbox",
        pgd=pgd_art,
        autoattack=autoattack_art,
        lacks="its AutoAttack is another: APGD on cross-entropy and DLR, DeepFool and Square, "
        "without APGD-T and FAB-T (and wants `multiprocess`); no false friends",
    ),
    "adversarial-library": Library(
        package="adv-lib",
        pgd=pgd_adv_lib,
        lacks="no AutoAttack and no Square (it has APGD, APGD-T and FAB); points alone; wants "
        "visdom, which is left out here",
    ),
    "autoattack": Library(
        package="autoattack",
        autoattack=autoattack_autoattack,
        lacks="no PGD, no false friends; a text log of rates without intervals; on no registry",
    ),
    "RobustBench": Library(
        package="robustbench",
        autoattack=autoattack_robustbench,
        lacks="the row above and the clean accuracy, on CIFAR or ImageNet alone, which it "
        "downloads: here the same images lie where torchvision has them, as if they were all; "
        "rates without intervals; needs setuptools < 81, pins timm and gdown; no PGD, no "
        "false friends",
    ),
    "fftune": Library(
        package="fftune",
        pgd=pgd_fftune,
        autoattack=autoattack_fftune,
        lacks="l_inf and l_2 alone; PyTorch alone; fewer attacks than foolbox or ART have; no zoo "
        "or leaderboard of its own",
    ),
}
ATTACKS = ("pgd", "autoattack")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One evaluation of one library."""

    library: str
    version: str
    attack: str
    net: str
    images: int
    robust: float
    """Share of the images."""
    seconds: float
    """CPU seconds of the call, without the import of torch."""


def run(name: str, attack: str, models: Path, net_name: str, count: int) -> Record:
    """Do one evaluation in this process, and judge its points."""
    torch.set_num_threads(1)
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # of adv-lib, for plots
    net, x, y = subject(models, net_name, count)
    library = LIBRARIES[name]
    evaluation: Evaluation | None = getattr(library, attack)
    assert evaluation is not None
    torch.manual_seed(0)
    began = seconds_used()
    found = evaluation(net, x.clone(), y.clone())
    seconds = seconds_used() - began
    robust = found if isinstance(found, float) else judged(net, x, y, found.detach())
    return Record(
        library=name, version=version_of(library.package), attack=attack, net=net_name,
        images=count, robust=robust, seconds=seconds,
    )  # fmt: skip


def subject(models: Path, name: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """A published net, and images of CIFAR-10's test set with their classes."""
    from fftune.config import DataSpec
    from fftune.data.subset import sample

    spec = importlib.util.spec_from_file_location("architectures", models / "architectures.py")
    assert spec is not None and spec.loader is not None
    architectures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architectures)
    data = sample(DataSpec(name="cifar10"), "test", count)
    _, x, y = next(iter(data.batches(count)))
    return architectures.load(name), x, y


def cifar_folder(x: Tensor, y: Tensor) -> str:
    """Write images as CIFAR-10's test batch, as torchvision keeps it, and have it take them."""
    from torchvision.datasets import CIFAR10

    folder = Path(tempfile.mkdtemp()) / CIFAR10.base_folder
    folder.mkdir()
    pixels = (x * 255).round().byte().flatten(1).numpy()
    held = {
        "test_batch": {"data": pixels, "labels": y.tolist()},
        "batches.meta": {"label_names": list("0123456789")},
    }
    sums = {}
    for name, content in held.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
    CIFAR10.train_list, CIFAR10.test_list = [], [["test_batch", sums["test_batch"]]]
    CIFAR10.meta = {**CIFAR10.meta, "md5": sums["batches.meta"]}
    return str(folder.parent)


def judged(net: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor) -> float:
    """Share of images that are right when clean and that the points do not fool by the rules."""
    with torch.no_grad():
        right, fooled = net(x).argmax(1) == y, net(x_adv).argmax(1) != y
    inside = (x_adv - x).abs().flatten(1).amax(1) <= EPS + 1e-6
    inside &= (x_adv >= 0).flatten(1).all(1) & (x_adv <= 1).flatten(1).all(1)
    return float((right & ~(fooled & inside)).float().mean())


def version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "source"


def lines(evaluation: Evaluation | None) -> int | None:
    """Lines of code inside a function, without blank ones."""
    if evaluation is None:
        return None
    source = inspect.getsource(evaluation).splitlines()[1:]
    return sum(1 for line in source if line.strip())


def page(records: Sequence[Record]) -> str:
    """The table, in Markdown."""
    found = {(r.library, r.attack): r for r in records}
    one = records[0]
    rows = [
        "| library | version | lines: PGD-20 | AutoAttack | CPU-s: PGD-20 | AutoAttack | "
        "robust: PGD-20 | AutoAttack | what is missing |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, library in LIBRARIES.items():
        each = [found.get((name, attack)) for attack in ATTACKS]
        known = next((r.version for r in each if r), "-")
        cells = [
            *(str(lines(getattr(library, attack)) or "-") for attack in ATTACKS),
            *(f"{r.seconds:.1f}" if r else "-" for r in each),
            *(f"{r.robust:.1%}" if r else "-" for r in each),
        ]
        rows.append(f"| {name} | {known} | {' | '.join(cells)} | {library.lacks} |")
    head = (
        f"# One evaluation in each library\n\nWritten by `python benchmarks/same_evaluation.py "
        f"--models FOLDER --write`: net `{one.net}`, {one.images} images of CIFAR-10's test set, "
        f"l_inf, eps 8/255, one thread. PGD-20 has steps of eps / 4 and a random "
        "start; AutoAttack is the published standard version where the last column says no "
        "other. One rule judges all points. Lines are those between `def` and the result, imports "
        "included; `-`: the library has none, or it was not run. Seconds include what a library "
        "imports at its first call, and were taken beside other work: only large "
        "differences tell.\n\n"
    )
    return head + "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--net", default="cifar_resnet2b")
    parser.add_argument("--images", type=whole, default=200)
    parser.add_argument("--records", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(LIBRARIES), default=list(LIBRARIES))
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    records = []
    if given.records and given.records.exists():
        records = [Record(**json.loads(text)) for text in given.records.read_text().splitlines()]
    known = {(r.library, r.attack, r.net, r.images) for r in records}
    for attack in ATTACKS:
        for name in given.only:
            library = LIBRARIES[name]
            here = importlib.util.find_spec({"ART": "art", "adversarial-library": "adv_lib"}.get(
                name, library.package)) is not None  # fmt: skip
            if (name, attack, given.net, given.images) in known or not here:
                continue
            if getattr(library, attack) is None:
                continue
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                record = pool.apply(run, (name, attack, given.models, given.net, given.images))
            records.append(record)
            print(time.strftime("%H:%M:%S"), record, flush=True)
            if given.records:
                with given.records.open("a") as file:
                    file.write(json.dumps(asdict(record)) + "\n")
    if given.write:
        PAGE.write_text(page(records))


if __name__ == "__main__":
    main()
