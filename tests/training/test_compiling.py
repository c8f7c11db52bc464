"""Compiled nets: which are, that they compute the same, and what happens where it cannot be."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fftune.config import OptimizerConfig, Phase
from fftune.models import load_model, weights_hash
from fftune.models.specs import read_spec
from fftune.training.compiling import Compiled, compiles, full_rows, repaid_after
from fftune.training.step import Stepper
from fftune.training.train import train
from tests.training.test_recorded import config_of
from tests.training.tinies import tiny

SLOW = pytest.mark.slow  # a compiler takes a minute, dynamo alone a second
MLP = f"{Path(__file__).with_name('user_net.py')}:plain"


def test_compiling_waits_for_a_run_that_repays_it() -> None:
    """18 s a net against 2.7 ms a step: 6,667 steps; what was measured is CUDA in bf16 alone."""
    config = tiny("thrm", lam=5.0, precision="bf16")
    assert repaid_after("cuda") == pytest.approx(6666.7, abs=0.1)

    def taken(steps: int, device: str = "cuda", **settings) -> tuple[bool, bool]:
        changed = replace(config, **settings)
        return tuple(
            compiles(changed, crafting=crafting, steps=steps, device=device)
            for crafting in (True, False)
        )

    assert taken(6667) == (True, True)
    assert taken(6666) == taken(10**6, "cpu") == (False, False)
    assert taken(10**6, precision="fp32") == (False, False)
    assert taken(10**6, precision="fp32", craft_precision="bf16") == (True, False)
    assert taken(10**6, craft_precision="fp32") == (False, True)
    assert taken(1, "cpu", precision="fp32", compile="on") == (True, True)
    assert taken(10**6, compile="off") == (False, False)
    phases = tuple(Phase(epochs=1, batch_size=50, data="digits") for _ in range(3))
    assert taken(3 * 6667, phases=phases) == (True, True)
    assert taken(3 * 6666, phases=phases) == (False, False)


@pytest.mark.parametrize(
    ("objective", "lam", "accumulate", "workers", "crafted", "joint"),
    [
        ("thrm", 5.0, 1, 1, {48}, {96}),
        ("thrm", 5.0, 5, 1, {10}, {20}),
        ("thrm", 5.0, 1, 2, {24}, {48}),
        ("pgd_at", 0.0, 1, 1, {48}, {48}),
        ("standard", 0.0, 1, 1, {48}, {48}),
    ],
)
def test_full_batches_are_compiled_for(objective, lam, accumulate, workers, crafted, joint) -> None:
    """As many rows as a net then sees; on CUDA a search fills its batch up."""
    config = config_of(objective, lam=lam, accumulate=accumulate)
    assert full_rows(config, workers, crafting=True, device="cpu") == crafted
    assert full_rows(config, workers, crafting=False, device="cpu") == joint
    assert full_rows(config, 1, crafting=True, device="cuda") == ({32} if accumulate > 1 else {64})


def short(**settings):
    """Two epochs of 48 + 48 + 4 examples."""
    config = config_of("thrm", lam=5.0, model=MLP, **settings)
    optimizer = replace(config.optimizer, epochs=2)
    assert isinstance(optimizer, OptimizerConfig)
    return replace(config, optimizer=optimizer)


@pytest.fixture(scope="module", params=["aot_eager", pytest.param("inductor", marks=[SLOW])])
def compiled_run(request, tmp_path_factory):
    """A compiled run that was interrupted, and the nets of its steps."""
    folder, seen = tmp_path_factory.mktemp("run"), []
    original, count = Stepper.__call__, iter(range(10**6))

    def call(self, *args, **settings):
        seen.append((self.wrapped, self.crafted_on.asked))
        if next(count) == 4:
            raise KeyboardInterrupt
        return original(self, *args, **settings)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "compile", partial(torch.compile, backend=request.param))
        patched.setattr(Stepper, "__call__", call)
        with pytest.raises(KeyboardInterrupt):
            train(short(compile="on"), folder=folder, save_seconds=0)
        checkpoint = train(short(compile="on"), folder=folder)
    return folder, checkpoint, seen


def test_a_compiled_run_is_a_run(compiled_run) -> None:
    """Losses but for rounding; weights under the net's own names; gone on with in an epoch."""
    folder, checkpoint, seen = compiled_run
    assert all(isinstance(net, Compiled) for pair in seen for net in pair)
    assert all(net._call is not None for pair in seen for net in pair)  # nothing has failed
    plain = train(short())
    for one, two in zip(checkpoint.history, plain.history, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-4)
    spec = read_spec(folder / "checkpoint")
    assert weights_hash(load_model(spec)) == weights_hash(checkpoint.model)
    state = checkpoint.model.state_dict()
    assert state.keys() == plain.model.state_dict().keys()
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-2, atol=1e-3)


class Branching(nn.Module):
    """Its way depends on what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.last = nn.BatchNorm2d(1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.last(self.norm(x).flatten(1))
        return z if z.sum() > 0 else -z


def test_a_net_that_cannot_be_compiled_runs_as_it_is(caplog) -> None:
    """One line; its statistics move once a call."""
    caplog.set_level(logging.INFO)
    net, twin = Branching(), Branching()
    twin.load_state_dict(net.state_dict())
    compiled = Compiled(net, frozenset({3}), "the net of the joint step")
    x = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        assert compiled(x).equal(twin(x))
    assert net.norm.num_batches_tracked == 3
    assert net.norm.running_mean.equal(twin.norm.running_mean)
    lines = [r.getMessage() for r in caplog.records if "uncompiled" in r.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("the net of the joint step runs uncompiled: ")


def test_other_sizes_are_not_compiled(monkeypatch) -> None:
    compiled = Compiled(nn.Linear(4, 2), frozenset({3}), "the net")
    monkeypatch.setattr(compiled, "_call", lambda x: x)
    assert compiled(torch.ones(3, 4)).shape == (3, 4)
    assert compiled(torch.ones(2, 4)).shape == (2, 2)
