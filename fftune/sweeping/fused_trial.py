"""Trials of a grid that share one process: the first of a group trains its lambdas side by side.

<study>/shared/fused-<hash>/<hash of a config>/   one net, as a training of its own leaves it
"""

import hashlib
import shutil

from fftune.config import TrainConfig, config_hash
from fftune.metrics import Metrics
from fftune.storage import storing
from fftune.sweeping.fuse_groups import group_of
from fftune.sweeping.shared_training import shared_training
from fftune.sweeping.study_kind import SeedRun
from fftune.sweeping.training_trial import sweep_of, train_alone
from fftune.training.cost import count_epoch, perturbed_examples
from fftune.training.fused import train_fused
from fftune.training.fused_trainer import failure_of, place_of
from fftune.training.history import read_history
from fftune.training.tracked import log_epoch


def train_in_group(run: SeedRun) -> int:
    """Train the net of a trial with those of its group, or take it from there.

    Returns:
        The number of examples that were crafted for this net.

    Raises:
        DivergedError: this net's loss was not finite; those of its group are trained on.
    """
    config: TrainConfig = run.config
    group = group_of(sweep_of(run), config)
    if len(group) == 1:
        return train_alone(run)
    name = hashlib.sha256("".join(map(config_hash, group)).encode()).hexdigest()[:16]
    folder = shared_training(
        run.study, f"fused-{name}", lambda folder: train_fused(group, folder=folder)
    )
    if error := failure_of(folder, config):
        raise error
    with storing(run.folder):
        shutil.copytree(place_of(folder, config).path, run.folder, dirs_exist_ok=True)
    metrics = Metrics(study=run.study.config.name, run=str(run.folder.relative_to(run.study.path)))
    for epoch in read_history(run.folder / "history.parquet"):
        log_epoch(run.tracked, epoch)
        count_epoch(metrics, epoch, config)
    return perturbed_examples(config)
