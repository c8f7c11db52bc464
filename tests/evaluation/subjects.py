"""Nets as the driver hands them to a block."""

from dataclasses import replace

from torch import Tensor, nn

from fftune.config import BatteryConfig, ThreatModel
from fftune.data import Dataset
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.escalation import plan
from fftune.evaluation.job import EvalJob, try_out
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.evaluation.scheduler import JobState, run_inline
from fftune.evaluation.tiers import Ensemble
from fftune.models import inference_copy, weights_hash
from fftune.outcomes import Outcomes

THREAT = ThreatModel(eps=0.02)
PGD = BatteryConfig(steps=2, precision="fp32")


class Of(nn.Module):
    """A net that is asked in some way of its own."""

    def __init__(self, net: nn.Module, way) -> None:
        super().__init__()
        self.net, self.way = net, way

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self.net, x)


def model_under_test(
    net: nn.Module, data: Dataset, *, surrogate_lowp: nn.Module | None = None
) -> ModelUnderTest:
    surrogate = inference_copy(net, "fp32", few(data))
    return ModelUnderTest(
        net=net,
        surrogate=surrogate,
        surrogate_lowp=surrogate if surrogate_lowp is None else surrogate_lowp,
        classes=len(data.source.classes),
        columns={"dataset_hash": data.hash(), "split": data.split, "model_hash": "m"},
    )


def job_of(net: nn.Module, data: Dataset, battery: BatteryConfig, **settings) -> EvalJob:
    return EvalJob.of(data, battery, model_hash=weights_hash(net), **settings)


def rows_of(subject: ModelUnderTest, job: EvalJob, cache: BlockCache | None = None) -> Outcomes:
    """A job to its end, without the checks before it."""
    return run_inline(subject, job, JobState(plan=plan(job), cache=cache)).complete()


def few(data: Dataset) -> Tensor:
    return next(data.batches(4))[1]


def lined(net: nn.Module, data: Dataset) -> dict[str, str]:
    """The remarks on a net before any attack, by code."""
    subject = model_under_test(net.eval(), data)
    lines = try_out(subject, job_of(net, data, PGD, threat=THREAT))
    return dict(line.split(": ", 1) for line in lines)


def briefly(ensemble: Ensemble, targets: int = 2, **most: int) -> Ensemble:
    """The ensemble with at most so many steps of a search of that name."""
    shorter = (
        tuple(
            replace(
                part,
                steps=min(part.steps, most[part.search]),
                targets=min(part.targets, targets),
            )
            for part in parts
        )
        for parts in (ensemble.adversarial, ensemble.hypocritical)
    )
    return Ensemble(**dict(zip(("adversarial", "hypocritical"), shorter, strict=True)))
