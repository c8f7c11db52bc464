"""From a sweep's settings to its front."""

import logging
from collections.abc import Mapping
from pathlib import Path

from fftune.config import Backend, HedgeSweep, Resources, Study, SweepConfig
from fftune.errors import FftuneError
from fftune.hedge_study.trial import HedgeRunner
from fftune.sweeping.front import Front
from fftune.sweeping.inline import run_inline
from fftune.sweeping.optuna_storage import answering, open_storage
from fftune.sweeping.optuna_study import open_search
from fftune.sweeping.study_dir import StudyDir, open_study
from fftune.sweeping.training_trial import TrainingTrialRunner
from fftune.sweeping.trial_progress import TrialProgress
from fftune.sweeping.trial_runner import TrialRunner, tags
from fftune.tracking.runs import end_stale_runs, open_tracking, send_outbox

RUNNERS: Mapping[type[Study], type[TrialRunner]] = {
    SweepConfig: TrainingTrialRunner,
    HedgeSweep: HedgeRunner,
}
"""What a trial does, by the kind of study."""

log = logging.getLogger(__name__)


def sweep(
    config: Study,
    *,
    root: Path,
    backend: Backend = "ray",
    resources: Resources | None = None,
    resume: bool = False,
) -> Front:
    """Train and judge a model at each lambda that the search asks for; keep all of it.

    A finished study is not run again: its front is given back.

    Args:
        root: where results land; see `fftune.storage`.
        backend: "ray" runs several trials at once on a cluster; "inline" one after the other
            in this process. Equal lambdas give equal rows.
        resume: go on with a study that was interrupted.

    Raises:
        UserError: something about the request that the user can mend; nothing was lost.
        FftuneError: no trial gave a model.
    """
    resources = resources or Resources()
    kind_of(config).check(config)
    with open_study(config, root, resume=resume) as study:
        if study.remaining:
            log.info("study %s in %s", config.name, study.path)
            with answering():
                _run(study, root, backend, resources)
        front = study.front()
        if not front.points:
            raise FftuneError(f"all trials failed; the first: {front.failures[0].reason}")
        front.write(study.path / "front.json")
        kind_of(config).conclude(study, front)
    return front


def kind_of(config: Study) -> type[TrialRunner]:
    """What its trials do."""
    return RUNNERS[type(config)]


def _run(study: StudyDir, root: Path, backend: Backend, resources: Resources) -> None:
    config = study.config
    open_storage(study)  # refuses before a cluster is started
    if backend == "inline":
        runner, search = _runner(study, root, resources), open_search(study)
        with TrialProgress(study) as progress:
            run_inline(runner, search, progress)
        return
    from fftune.ray_cluster import cluster, require_shared_dir  # importing Ray takes seconds
    from fftune.sweeping.ray_tune import at_once, run_on_ray

    with cluster(resources):
        # Both refuse before MLflow and Optuna hear of the study.
        at_once(config, resources)
        require_shared_dir(root)
        runner, search = _runner(study, root, resources), open_search(study)
        with TrialProgress(study) as progress:
            run_on_ray(runner, search, progress, resources)


def _runner(study: StudyDir, root: Path, resources: Resources) -> TrialRunner:
    tracking = open_tracking(root, study.config.experiment)
    send_outbox(tracking)
    end_stale_runs(
        tracking,
        tags(study.config.name, "trial"),
        lambda of: bool(study.points(int(of["fftune.trial"]))),
    )
    return kind_of(study.config)(study=study, tracking=tracking, resources=resources)
