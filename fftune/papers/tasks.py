"""Tasks of the graph: needs and identity of a declaration, and the work itself.

A task's folder is named by its content: the resolved settings, and the names of the tasks that it
needs. It is finished where `done.json` stands, which is written last.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Protocol

from fftune.config import (
    PERTURBED,
    BatteryConfig,
    DataSpec,
    Device,
    ModelSpec,
    Norm,
    ThreatModel,
    TrainConfig,
    substandard_name,
    to_json,
)
from fftune.evaluation.adaptive import is_adaptive
from fftune.evaluation.block_cache import ENGINE
from fftune.keyed_noise import GENERATOR
from fftune.outcomes import Outcomes
from fftune.papers.declarations import Analysis, Exam, Need, Net, Setup, Substandard
from fftune.papers.identities import of_need, of_published, of_training, plain
from fftune.papers.scales import ball_of, behind, config_of, examples_of, images_of, poisoner
from fftune.papers.zoo import ZooNet
from fftune.recipes import Scale
from fftune.storage import in_turn, sha256, write_text
from fftune.stored_file import read_text

VERSION = 2
"""Raised when tasks of an older one would come to other results."""


class AnalysisFunction(Protocol):
    """The function of an analysis, which returns plain JSON."""

    def __call__(self, given: "Given", /) -> Mapping[str, Any]:
        """Compute it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """Arguments of the function of an analysis."""

    nets: tuple[ModelSpec, ...]
    data: DataSpec
    """The images of the first net."""
    threat: ThreatModel
    examples: int | None
    device: Device
    scale: Scale
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of the graph, with the tasks that it needs."""

    need: Need
    scale: Scale
    needs: tuple["Task", ...] = ()

    @cached_property
    def key(self) -> str:
        """Name of its folder: what it is, in words, and a hash of all that decides its result."""
        told = json.dumps(self._identity(), sort_keys=True, default=plain)
        digest = hashlib.sha256(told.encode()).hexdigest()[:12]
        words = "".join(c if c.isalnum() or c in "._" else "-" for c in str(self.need))
        return f"{self.kind}-{'-'.join(filter(None, words.split('-')))[:60]}-{digest}"

    @property
    def kind(self) -> str:
        """`net`, `data`, `rows` or `analysis`."""
        return _KINDS[type(self.need)]

    def folder(self, root: Path) -> Path:
        """Folder of its results."""
        return papers_root(root) / "tasks" / self.key

    def is_done(self, root: Path) -> bool:
        """Tell if it is finished."""
        return (self.folder(root) / "done.json").exists()

    def _identity(self) -> dict[str, Any]:
        found: dict[str, Any] = {"version": VERSION, "needs": [task.key for task in self.needs]}
        need = self.need
        if isinstance(need, Net):
            training = of_training(config_of(need, self.scale))
            return found | training | {"generator": GENERATOR}
        if isinstance(need, Substandard):
            images = images_of(need.data, need.model, self.scale)
            ball = ball_of(need.norm, self.scale)
            return found | {"data": images, "kind": need.kind, "ball": ball}
        found |= {"engine": ENGINE, "scale": self.scale} | of_need(need)
        found["zoo"] = [of_published(net) for net in nets_of(need) if isinstance(net, ZooNet)]
        return found


_KINDS: dict[type, str] = {Net: "net", Substandard: "data", Exam: "rows", Analysis: "analysis"}


def papers_root(root: Path) -> Path:
    """The folder of all that belongs to both papers, below that of results."""
    return root / "papers"


def nets_of(need: Need) -> tuple[Net | ZooNet, ...]:
    """The nets that an evaluation or an analysis is about."""
    if isinstance(need, Exam):
        return (need.net,)
    return need.nets if isinstance(need, Analysis) else ()


def task_of(need: Need, setup: Setup, known: dict[Need, Task]) -> Task:
    """The task of a declaration, with all that it needs; `known` are those that were made."""
    if need not in known:
        inner = tuple(task_of(one, setup, known) for one in _needed(need, setup.scale))
        known[need] = Task(need=need, scale=setup.scale, needs=inner)
    return known[need]


def runs(need: Exam, attack: str) -> bool:
    """Tell if an evaluation runs an attack, by its name in rows."""
    return attack in need.attacks if need.attacks else not is_adaptive(attack)


def tasks_of(needs: Iterable[Need], setup: Setup) -> list[Task]:
    """All tasks of some declarations, each once, a task after those that it needs."""
    known: dict[Need, Task] = {}
    for need in needs:
        task_of(need, setup, known)
    return list(known.values())


def _needed(need: Need, scale: Scale) -> tuple[Need, ...]:
    if isinstance(need, Net):
        if need.kind == "quality" or need.kind == "naive":
            return ()
        return (Substandard(data=need.data, kind=need.kind, norm=need.norm, model=need.model),)
    if isinstance(need, Substandard):
        return (poisoner(need, scale),) if need.kind in PERTURBED else ()
    return tuple(net for net in nets_of(need) if isinstance(net, Net))


def perform(task: Task, root: Path, *, device: Device = "auto", threads: int = 1) -> None:
    """Do a task whose needs are done; nothing happens where it is done already.

    Raises:
        FftuneError: it failed; what was done of it is kept, and the next attempt goes on.
    """
    if task.is_done(root):
        return
    folder = task.folder(root)
    with in_turn(folder / "task"):  # a worker of a driver that was killed may be at it still
        if not task.is_done(root):
            _perform(_Worker(task=task, root=root, folder=folder, device=device, threads=threads))


def _perform(worker: "_Worker") -> None:
    from fftune.data.catalog import opened_once
    from fftune.models import torch_threads

    began, worked, folder = perf_counter(), process_time(), worker.folder
    _sweep(folder, all_of_it=worker.task.kind in ("data", "analysis"))
    with opened_once(), torch_threads(worker.threads):
        worker.run()
    done = {
        "task": str(worker.task.need),
        "scale": worker.task.scale,
        "seconds": perf_counter() - began,
        "cpu_seconds": process_time() - worked,
    }
    write_text(folder / "done.json", json.dumps(done, indent=2) + "\n")
    shutil.rmtree(folder / "blocks", ignore_errors=True)  # the rows are whole


def _sweep(folder: Path, *, all_of_it: bool) -> None:
    """Remove what an attempt that was killed has left, but for what the next one goes on from."""
    for path in list(folder.iterdir() if all_of_it else folder.rglob(".*")):
        if path.suffix != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _begin(folder: Path, settings: str) -> None:
    """Note the settings of a training; remove what one with others left, as it cannot go on.

    They are others where a device, a number of threads or the place of the data is.
    """
    note = folder / "began.json"
    if note.exists() and read_text(note, "note of a task") != settings:
        _sweep(folder, all_of_it=True)
    write_text(note, settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Worker:
    task: Task
    root: Path
    folder: Path
    device: Device
    threads: int

    def run(self) -> None:
        need = self.task.need
        if isinstance(need, Net):
            self._train(need)
        elif isinstance(need, Substandard):
            self._write(need)
        elif isinstance(need, Exam):
            self._evaluate(need)
        else:
            self._analyse(need)

    def _train(self, need: Net) -> None:
        from fftune.training.train import train

        config = trained_as(self.task, self.root)
        config = replace(config, device=self.device, threads=self.threads)
        _begin(self.folder, to_json(config))
        train(config, folder=self.folder)

    def _write(self, need: Substandard) -> None:
        from fftune.data.conversion import Conversion, convert

        nets = [str(task.folder(self.root) / "checkpoint") for task in self.task.needs]
        images = images_of(need.data, need.model, self.task.scale)
        conversion = Conversion(
            name=images.name,
            out=self.folder,
            kind=need.kind,
            net=nets[0] if nets else None,
            threat=ball_of(need.norm, self.task.scale),
            spec=images,
            device=self.device,
        )
        for _ in convert(conversion):
            pass

    def _evaluate(self, need: Exam) -> None:
        from fftune.evaluation.evaluate import evaluate

        scale = self.task.scale
        model = spec_of(need.net, self.task, self.root)
        outcomes = evaluate(
            model,
            images_for(need.net, scale),
            BatteryConfig(
                name=need.battery,
                examples=examples_of(need.size, scale),
                seed=need.seed,
                threads=self.threads,
                device=self.device,
            ),
            threat=ball_for(need.net, need.norm, scale, need.eps),
            split=need.split,
            defense=behind(need.defenses) if need.defenses else None,
            root=self.folder,
            wanted=partial(runs, need),
        )
        outcomes.write(self.folder / "outcomes.parquet")

    def _analyse(self, need: Analysis) -> None:
        module, _, name = need.run.partition(":")
        function: AnalysisFunction = getattr(import_module(module), name)
        scale = self.task.scale
        found = function(
            Given(
                nets=tuple(spec_of(net, self.task, self.root) for net in need.nets),
                data=images_for(need.nets[0], scale),
                threat=ball_for(need.nets[0], need.norm, scale),
                examples=examples_of(need.size, scale),
                device=self.device,
                scale=scale,
                settings=dict(need.settings),
            )
        )
        path = self.folder / "result.json"
        write_text(path, json.dumps(found, default=plain) + "\n")
        write_text(path.with_suffix(".sha256"), sha256(path) + "\n")


def trained_as(task: Task, root: Path) -> TrainConfig:
    """The training of a net's task, with the place of substandard data."""
    assert isinstance(task.need, Net)
    config = config_of(task.need, task.scale)
    for data in task.needs:
        place = written_at(data, root)
        config = replace(config, data=replace(config.data, name=f"folder:{place}"))
    return config


def written_at(task: Task, root: Path) -> Path:
    """The folder of substandard data."""
    need = task.need
    assert isinstance(need, Substandard)
    images = images_of(need.data, need.model, task.scale)
    return task.folder(root) / substandard_name(images.name, need.kind, need.norm)


def spec_of(net: Net | ZooNet, task: Task, root: Path) -> ModelSpec:
    """A net that a task needs, as any process can build it.

    Raises:
        ModelError: there is no complete checkpoint.
    """
    from fftune.models.specs import read_spec, with_named_code

    if isinstance(net, ZooNet):
        return ModelSpec(factory=net.factory, weights=net.weights)
    (found,) = (one for one in task.needs if one.need == net)
    folder = found.folder(root) / "checkpoint"
    return with_named_code(read_spec(folder), folder, net.model if ".py:" in net.model else "")


def images_for(net: Net | ZooNet, scale: Scale) -> DataSpec:
    """The images that a net is judged on: a published net's are its own at every scale."""
    if isinstance(net, ZooNet):
        return images_of(net.data, "", "full")
    return images_of(net.data, net.model, scale)


def ball_for(net: Net | ZooNet, norm: Norm, scale: Scale, eps: float | None = None) -> ThreatModel:
    """The ball of attacks on a net: a published net's radius is its own at every scale."""
    if isinstance(net, ZooNet):
        return ball_of(norm, "full", net.eps if eps is None else eps)
    return ball_of(norm, scale, eps)


def read_rows(task: Task, root: Path) -> Outcomes:
    """The rows of a finished evaluation."""
    return Outcomes.read(task.folder(root) / "outcomes.parquet")
