"""The one entrance: nets, data and a battery in; a row for every example and attack out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import overload

from torch import nn

from fftune.config import (
    Backend,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    Device,
    ModelSpec,
    Resources,
    Split,
    ThreatModel,
)
from fftune.config.validation import require_word
from fftune.data import Dataset
from fftune.data.model_spec import load_for
from fftune.data.subset import sampled
from fftune.errors import ConfigError, DataError, FftuneError
from fftune.evaluation.batteries import Attack, Wanted
from fftune.evaluation.block_cache import BlockCache, identity
from fftune.evaluation.escalation import plan
from fftune.evaluation.job import (
    EvalJob,
    check_images,
    first_images,
    lint_model,
    precision_of,
    search_precision,
    sized,
    under_test,
)
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.on_ray import device_of_actors, run_on_ray
from fftune.evaluation.question import question_of
from fftune.evaluation.running_accuracy import tell
from fftune.evaluation.saved_images import ImageFolder
from fftune.evaluation.scheduler import EvalResult, JobState, MakePlan, PreparedJob, run_inline
from fftune.evaluation.transfer import NamedNet
from fftune.lint.after_attacks import AnswersBefore
from fftune.lint.questions import FEW
from fftune.models import weights_hash
from fftune.outcomes import Outcomes
from fftune.progress import Progress

Model = ModelSpec | nn.Module
"""A net by its description, which any process can build, or one in the memory of this process."""
Data = DataSpec | Dataset
"""A data set by name, or the examples themselves."""
Beside = Callable[[], AbstractContextManager[object]]
"""Opens a context within which the attacks run."""


@overload
def evaluate(
    models: Mapping[str, Model],
    data: Data,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split | None = None,
    defense: DefenseConfig | None = None,
    attacks: Sequence[Attack] | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    root: Path | None = None,
    wanted: Wanted | None = None,
    others: Sequence[NamedNet] = (),
    beside: Beside = nullcontext,
    keep: Mapping[str, ImageFolder] | None = None,
    make_plan: MakePlan = plan,
) -> dict[str, EvalResult]: ...
@overload
def evaluate(
    models: Model,
    data: Data,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split | None = None,
    defense: DefenseConfig | None = None,
    attacks: Sequence[Attack] | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    root: Path | None = None,
    wanted: Wanted | None = None,
    others: Sequence[NamedNet] = (),
) -> Outcomes: ...
def evaluate(
    models: Model | Mapping[str, Model],
    data: Data,
    battery: BatteryConfig,
    *,
    threat: ThreatModel,
    split: Split | None = None,
    defense: DefenseConfig | None = None,
    attacks: Sequence[Attack] | None = None,
    backend: Backend = "inline",
    resources: Resources | None = None,
    root: Path | None = None,
    wanted: Wanted | None = None,
    others: Sequence[NamedNet] = (),
    beside: Beside = nullcontext,
    keep: Mapping[str, ImageFolder] | None = None,
    make_plan: MakePlan = plan,
) -> Outcomes | dict[str, EvalResult]:
    """Attack every example of a split with every attack of a battery.

    Args:
        models: one net, or several by names of the caller's. A net takes (B, C, H, W) images in
            [0, 1] and returns (B, K) logits; one in memory is given back as it was.
        data: opened once, whatever the number of nets.
        split: default that of a data set in memory, else `test`.
        defense: defenses under which all is scored too; the battery's attacks are joined by
            adaptive ones.
        attacks: run instead of the battery's.
        backend: `inline` attacks block after block in this process, `ray` on all actors that the
            cluster holds. Rows are equal.
        resources: the cluster, for `ray`.
        root: folder where finished blocks are kept and found again. Blocks of a net in memory are
            not kept, as its code is not known.
        wanted: tells by an attack's name if it is run, the battery's and the adaptive ones that a
            defense adds; default all are. What is no attack always is.
        others: nets by names of the caller's on which points are crafted as on those of
            `battery.transfer`. With one in memory, too, blocks are not kept.
        beside: opened when a net was found fit, just before the attacks, and closed after them;
            not at all where no net is.
        keep: by names of nets: folders for what each attack has perturbed, which all nodes of a
            cluster must share. All blocks are attacked then, as kept ones hold rows alone.
        make_plan: makes the plan of each net's tasks; default every attack on every example.

    Returns:
        Outcomes for one net; an `EvalResult` by name for several, with the error of a net that
        could not be evaluated.

    Raises:
        ModelError: one net: it cannot be built, does not take the images, does not return finite
            logits of their classes, a row an example, or has no gradients.
        FftuneError: one net: blocks of it were lost.
        DataError: the data are missing, or a label is none of the classes.
        ConfigError: CUDA is asked for and missing; Ray is to evaluate a net in memory.
        ClusterError: the cluster cannot be reached, or can never hold one actor.
        StorageError: a node of the cluster does not see a folder of `keep`.
    """
    require_word("backend", backend, Backend)
    nets = models if isinstance(models, Mapping) else {_label(models): models}
    resources = resources or Resources()
    actors = None if backend == "inline" else device_of_actors(battery.device, resources.share)
    battery = sized(battery, actors)
    request = _Request(
        open_data=cache(partial(sampled, data, split, battery.examples)),
        battery=battery,
        threat=threat,
        defense=defense,
        attacks=attacks,
        root=root,
        wanted=wanted,
        others=others,
        actors=actors,
        keep=keep or {},
        make_plan=make_plan,
    )
    if backend == "ray":
        results = _on_ray(nets, request, battery, resources, beside)
    else:
        results = _inline(nets, request, beside)
    if not isinstance(models, Mapping):
        return next(iter(results.values())).complete()
    return {name: results[name] for name in nets}


def _inline(
    nets: Mapping[str, Model], request: "_Request", beside: Beside
) -> dict[str, EvalResult]:
    """Evaluate nets one after the other in this process."""
    results: dict[str, EvalResult] = {}
    several = Progress("evaluation", unit="nets", total=len(nets), fractions=True)
    with ExitStack() as opened:
        begin = cache(lambda: opened.enter_context(beside()))
        if len(nets) > 1:
            opened.enter_context(several)
        for name, model in nets.items():
            try:
                with _under_test(name, model, request) as (subject, ready, before):
                    begin()
                    result = run_inline(subject, ready.job, JobState.of(ready), name=name)
                    if result.outcomes is not None:
                        result = ready.answered(result, before.again(subject.net, ready.remarks))
                    results[name] = result
            except DataError:  # the same for every net
                raise
            except FftuneError as error:
                results[name] = EvalResult(error=error)
            several.update(len(results))
    return results


def _on_ray(
    nets: Mapping[str, Model],
    request: "_Request",
    battery: BatteryConfig,
    resources: Resources,
    beside: Beside,
) -> dict[str, EvalResult]:
    """Look at each net in this process, and attack those that are fit on Ray's actors."""
    results: dict[str, EvalResult] = {}
    prepared: dict[str, PreparedJob] = {}
    with ExitStack() as opened:
        begin = cache(lambda: opened.enter_context(beside()))
        for name, model in nets.items():
            try:
                with _under_test(name, model, request) as (_, ready, _):
                    begin()
                    prepared[name] = ready
            except DataError:  # as above
                raise
            except FftuneError as error:
                results[name] = EvalResult(error=error)
        return results | (run_on_ray(prepared, battery, resources) if prepared else {})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    """Settings that the nets of one call have in common."""

    open_data: Callable[[], tuple[Dataset, int]]
    """The examples, opened at the first call, and how many the split has."""
    battery: BatteryConfig
    threat: ThreatModel
    defense: DefenseConfig | None
    attacks: Sequence[Attack] | None
    root: Path | None
    wanted: Wanted | None
    others: Sequence[NamedNet]
    actors: Device | None
    """What Ray's actors compute on; None: this process attacks."""
    keep: Mapping[str, ImageFolder]
    make_plan: MakePlan


@contextmanager
def _under_test(
    name: str, model: Model, request: _Request
) -> Iterator[tuple[ModelUnderTest, PreparedJob, AnswersBefore]]:
    """A net that was found fit for its attacks, with its job, while the block of code runs.

    Raises:
        ModelError: see `evaluate`.
    """
    for called, one in ((name, model), *request.others):
        if request.actors and not isinstance(one, ModelSpec):
            raise ConfigError(f"backend must be 'inline' for a net in memory, got 'ray' ({called})")
    # First the net: it fails at once, where images take their time.
    if isinstance(model, ModelSpec):
        net, model = load_for(model, lambda: request.open_data()[0])
    else:
        net = model
    dataset, available = request.open_data()
    job = EvalJob.of(
        dataset,
        request.battery,
        model_hash=weights_hash(net),
        threat=request.threat,
        attacks=request.attacks,
        defense=request.defense,
        wanted=request.wanted,
        others=request.others,
    )
    with under_test(net, job.on("cpu") if request.actors else job) as subject:
        tell(f"{name}: a look at it on {subject.device}, then {_described(job)}")
        if (keep := request.keep.get(name)) is not None:
            subject = replace(subject, keep=partial(keep.keep, tuple(dataset.source.classes)))
        check_images(subject, dataset)
        before = AnswersBefore.of(subject.net, first_images(subject, dataset, FEW))
        yield subject, _prepared(name, model, subject, job, request, available), before


def _described(job: EvalJob) -> str:
    """Work on a net in words, as in "2 attacks on 200 images of digits, test"."""
    data = job.dataset
    images = f"{len(data):,} images of {data.source.name}, {data.split}"
    return f"{len(job.attacks)} attacks on {images}"


def _prepared(
    name: str,
    model: Model,
    subject: ModelUnderTest,
    job: EvalJob,
    request: _Request,
    available: int,
) -> PreparedJob:
    remarks, spec = lint_model(subject, job), model if isinstance(model, ModelSpec) else None
    code = "" if spec is None else identity(spec, subject, job.dataset)
    device = request.actors or subject.device
    question = question_of(
        job,
        net=name,
        code=code,
        threat=request.threat,
        available=available,
        device=device,
        precision=search_precision(job.battery.precision, device)
        if request.actors == "cuda"
        else precision_of(subject),
        remarks=remarks,
        origin=None if spec is None else spec.origin,
    )
    job = job.on(request.actors) if request.actors else job
    known = spec is not None and all(other.net is None for other in job.others)
    kept = BlockCache(request.root, job, code, device) if request.root and known else None
    return PreparedJob(
        spec=spec,
        job=job,
        cache=kept,
        question=question,
        keep=request.keep.get(name),
        make_plan=request.make_plan,
    )


def _label(model: Model) -> str:
    return model.label if isinstance(model, ModelSpec) else type(model).__name__
