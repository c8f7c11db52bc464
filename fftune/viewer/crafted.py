"""Perturbed images of a study's nets, crafted anew: rows hold verdicts, and no images."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from fftune.config import Split, SweepConfig
from fftune.data.catalog import load
from fftune.evaluation.block import attack_block
from fftune.evaluation.job import EvalJob, under_test
from fftune.evaluation.saved_images import ImageFolder
from fftune.models import load_model
from fftune.models.specs import read_spec


def craft(
    sweep: SweepConfig, checkpoint: Path, ids: Collection[int], split: Split, folder: Path
) -> None:
    """Attack some images as a study did, and keep what comes of it in a folder of saved images.

    The attackers' noise is keyed by image, so that the points are those of the study but for last
    bits, which depend on the shape of a batch.

    Args:
        checkpoint: folder of the net.
        ids: of images of the split.

    Raises:
        UserError: the net or the data cannot be read.
    """
    spec = read_spec(checkpoint)
    data = load(sweep.base.data, split)
    at = torch.tensor([i for i, one in enumerate(data.ids.tolist()) if one in set(ids)])
    few = data.select(at, split)
    job = EvalJob.of(few, sweep.battery, model_hash=spec.hash, threat=sweep.base.attack.threat)
    keep = partial(ImageFolder(folder=folder).keep, few.source.classes)
    with under_test(load_model(spec), job) as subject:
        for attack in job.attacks:
            for block in few.batches(job.block_size):
                attack_block(replace(subject, keep=keep), block, attack, noise=job.noise)
