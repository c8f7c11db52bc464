"""Run a study of any kind, and return its front."""

import logging
from dataclasses import replace
from pathlib import Path

from fftune.config import Backend, Resources, Study
from fftune.config.validation import require_word
from fftune.data.catalog import opened_once
from fftune.errors import FftuneError
from fftune.models import device_of
from fftune.registry import absolute
from fftune.sweeping.card_share import CardShare
from fftune.sweeping.front import Front
from fftune.sweeping.inline import run_inline
from fftune.sweeping.optuna_storage import answering, open_storage
from fftune.sweeping.optuna_study import open_search
from fftune.sweeping.samplers.spec import check_strategy, planned
from fftune.sweeping.study_dir import StudyDir, open_study
from fftune.sweeping.study_kind import kind_of
from fftune.sweeping.trial_progress import TrialProgress
from fftune.sweeping.trial_runner import TrialRunner, tags
from fftune.tracking.meanwhile import meanwhile
from fftune.tracking.runs import end_stale_runs, open_to_write
from fftune.tracking.store import import_client

log = logging.getLogger(__name__)


def sweep(
    config: Study,
    *,
    root: Path,
    backend: Backend = "ray",
    resources: Resources | None = None,
    resume: bool = False,
) -> Front:
    """Run every trial that the search asks for, and keep all results below `root`.

    A finished study is not run again: its front is returned.

    Args:
        root: storage folder; see `fftune.storage`.
        backend: "ray" runs several trials at once on a cluster; "inline" one after the other
            in this process. Equal settings give equal rows.
        resume: continue a study that was interrupted.

    Raises:
        UserError: the request is wrong in a way that the user can mend; no result is lost.
        FftuneError: all trials failed.
    """
    require_word("backend", backend, Backend)
    resources = resources or Resources()
    kind = kind_of(config)
    config = replace(config, strategy=absolute(config.strategy))
    with opened_once():
        check_strategy(config)
        kind.check(config)
        return _checked(config, root, backend, resources, resume=resume)


def _checked(
    config: Study, root: Path, backend: Backend, resources: Resources, *, resume: bool
) -> Front:
    """Run a study whose settings fit."""
    kind = kind_of(config)
    with open_study(config, root, resume=resume) as study:
        if study.remaining:
            log.info("study %s in %s: %s", config.name, study.path, _described(study, backend))
            if (few := planned(config)) < config.trials:
                log.info("%d trials: the space has no more settings, and none is tried twice", few)
            with answering():
                _run(study, root, backend, resources)
        elif study.begun and not study.concluded:
            with answering():  # a driver died after the last result, before it had told of it
                _runner(study, root, resources)
                open_search(study)
        front = study.front(kind.estimates)
        if not front.results:
            reasons = [failure.reason for failure in front.failures] or ["all were stopped"]
            raise FftuneError(f"all trials failed; the first: {reasons[0]}")
        front.write(study.path / "front.json")
        kind.conclude(study, front)
    return front


def _described(study: StudyDir, backend: Backend) -> str:
    """Plan of a study in words, as in "4 trials of 40 epochs, one after the other on cpu"."""
    epochs = kind_of(study.config).epochs(study.config.base)
    trials = f"{study.remaining} trials" + (f" of {epochs} epochs" if epochs else "")
    if backend == "ray":
        return f"{trials}, side by side on Ray"
    device = device_of(getattr(study.config.base, "device", "auto"))
    return f"{trials}, one after the other on {device}"


def _run(study: StudyDir, root: Path, backend: Backend, resources: Resources) -> None:
    config = study.config
    open_storage(study)  # refuses before a cluster is started
    if backend == "inline":
        if resources.gpus == "auto":
            resources = replace(resources, gpus=_inline_share(study))
        runner, search = _runner(study, root, resources), open_search(study)
        with TrialProgress(study) as progress:
            run_inline(runner, search, progress)
        return
    from fftune.ray_cluster import cluster, require_shared_dir  # importing Ray takes seconds
    from fftune.sweeping.ray_memory import with_share
    from fftune.sweeping.ray_tune import at_once, run_on_ray

    with meanwhile(import_client) as imported, cluster(resources):
        imported()  # two threads that import one library may wait for each other
        resources = with_share(study, resources)
        # Both refuse before MLflow and Optuna store anything of the study.
        at_once(config, resources)
        require_shared_dir(root)
        runner, search = _runner(study, root, resources), open_search(study)
        with TrialProgress(study) as progress:
            run_on_ray(runner, search, progress, resources)


def _inline_share(study: StudyDir) -> float:
    """Give a trial the card of this process, if there is one: no other trial runs beside it."""
    card = device_of(getattr(study.config.base, "device", "auto")) == "cuda"
    share = CardShare(gpus=1.0, reason="a trial has the card for itself, as nothing runs beside it")
    none = CardShare(gpus=0.0, reason="there is no card: trials run on the CPU")
    (share if card else none).keep(study)
    return 1.0 if card else 0.0


def _runner(study: StudyDir, root: Path, resources: Resources) -> TrialRunner:
    tracking = open_to_write(root, study.config.experiment)
    end_stale_runs(
        tracking,
        tags(study.config.name, "trial"),
        lambda of: bool(study.results(int(of["fftune.trial"]))),
    )
    runner = TrialRunner(study=study, tracking=tracking, resources=resources)
    runner.tidy()
    return runner
