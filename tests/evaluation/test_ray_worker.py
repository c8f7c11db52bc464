"""An actor's nets: the same modules from block to block, and nothing left of those it drops."""

from dataclasses import replace
from types import SimpleNamespace

import torch
from subjects import job_of
from torch import nn

from fftune.config import BatteryConfig, ThreatModel
from fftune.evaluation import ray_actor


class Reference:
    """Stands for an object of Ray's store."""

    def __init__(self, name: str) -> None:
        self.name = name

    def binary(self) -> bytes:
        return self.name.encode()


def test_a_net_is_opened_once_and_forgotten_when_it_is_dropped(toy, blobs, monkeypatch) -> None:
    job = job_of(toy, blobs, BatteryConfig(precision="fp32"), threat=ThreatModel(eps=0.02))
    bare = replace(job, dataset=replace(job.dataset, pixels=torch.empty(0)))
    payload = SimpleNamespace(job=bare, pixels="pixels", images=None)
    stored = {"pixels": blobs.pixels.numpy()}
    get = lambda reference: stored.get(reference, payload)  # noqa: E731 - stands for ray.get
    monkeypatch.setattr(ray_actor, "ray", SimpleNamespace(get=get))
    monkeypatch.setattr(ray_actor, "_net", lambda _: toy)
    forgotten: list[nn.Module] = []
    monkeypatch.setattr(
        ray_actor, "forget_recordings", lambda subject: forgotten.append(subject.surrogate)
    )
    worker = ray_actor.Worker.__new__(ray_actor.Worker)
    worker._opened = {}
    nets = [Reference(str(at)) for at in range(ray_actor.SUBJECTS + 1)]
    opened = [worker._open(net)[1] for net in nets[:-1]]
    for net, subject in zip(nets[:-1], opened, strict=True):
        again, found, _ = worker._open(net)
        assert found is subject and torch.equal(again.dataset.pixels, blobs.pixels)
    assert forgotten == []
    worker._open(nets[-1])
    assert len(worker._opened) == ray_actor.SUBJECTS and forgotten == [opened[0].surrogate]
