"""Perturbations that were crafted on one net and are judged on others."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fftune.config import AttackConfig, BatteryConfig
from fftune.data import Dataset
from fftune.data.model_spec import load_for
from fftune.data.subset import sampled
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.job import EvalJob, check_images, under_test
from fftune.evaluation.model_under_test import logits_of
from fftune.hedge_study.precomputed import perturb_dataset
from fftune.keyed_noise import ExampleNoise, Noise
from fftune.papers.tasks import Given
from fftune.threat import project, start


def cross(given: Given) -> Mapping[str, Any]:
    """Craft on every net with the PGD of battery `risks`, for both goals, and judge on every net.

    Starts are keyed by examples and by nothing else, so that each net's own perturbations are those
    of its ordinary evaluation. A last source is no net: uniform noise of the same ball.

    Returns:
        `wrong` and `total`, counts of each net's mistakes; `concealed` and `fooled`, a list a
        source of counts a judge: of the judge's own mistakes that are right when perturbed, and of
        its right answers that are wrong then.
    """
    dataset, _ = sampled(given.data, "test", given.examples)
    battery = BatteryConfig(name="risks", device=given.device)
    (attack,) = {one.config for one in attacks_of(battery, given.threat)}
    nets = [load_for(spec, lambda: dataset)[0] for spec in given.nets]
    sources = [_crafted(net, dataset, battery, attack) for net in nets]
    sources.append(_noise(dataset, attack))
    images = [x_adv for x_adv, _ in sources] + [x_hyp for _, x_hyp in sources]
    wrong: list[int] = []
    concealed: list[list[int]] = [[] for _ in sources]
    fooled: list[list[int]] = [[] for _ in sources]
    for net in nets:
        right, *after = _right(net, dataset, battery, images)
        wrong.append(int((~right).sum()))
        for i in range(len(sources)):
            fooled[i].append(int((right & ~after[i]).sum()))
            concealed[i].append(int((~right & after[len(sources) + i]).sum()))
    return {"total": len(dataset), "wrong": wrong, "concealed": concealed, "fooled": fooled}


def _crafted(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, attack: AttackConfig
) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) adversarial and hypocritical examples of a net."""
    found = perturb_dataset(net, dataset, battery, attack, model_hash="")
    return found.x_adv, found.x_hyp


def _noise(dataset: Dataset, attack: AttackConfig) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) images with uniform noise, the same for both goals."""
    noise = Noise(0).fold("transfer", dataset.source.name, dataset.split)
    blocks = [start(x, attack, ExampleNoise(noise, ids)) for ids, x, _ in dataset.batches(256)]
    x_pert = project(torch.cat(blocks), _clean(dataset), attack.threat)
    return x_pert, x_pert


def _clean(dataset: Dataset) -> Tensor:
    return torch.cat([x for _, x, _ in dataset.batches(256)])


def _right(
    net: nn.Module, dataset: Dataset, battery: BatteryConfig, images: list[Tensor]
) -> Iterator[Tensor]:
    """Yield (N,) bool of a net's right answers: on the clean images, then on each perturbed set."""
    job = EvalJob.bare(net, dataset, battery)
    with under_test(net, job) as subject:
        check_images(subject, dataset)
        for x_pert in (_clean(dataset), *images):
            blocks = x_pert.split(job.block_size)
            pred = [logits_of(subject, x.to(subject.device)).argmax(1).cpu() for x in blocks]
            yield torch.cat(pred) == dataset.y
