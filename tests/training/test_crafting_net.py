"""The net that perturbed images are crafted on: which copy it is, and that it follows the net."""

import copy
import json
import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fftune.capture import use
from fftune.capture.tape import Tape
from fftune.config import TrainConfig, from_json, to_json
from fftune.keyed_noise import Noise
from fftune.models import eval_mode, make_model
from fftune.objectives import objective_of
from fftune.training.crafting_net import Autocast, CraftingNet, crafting_net
from fftune.training.step import Stepper, loss_of
from tests.training.test_step import INPUTS, OBJECTIVES, Moody, config_of, moody

X = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))


class Twice(Moody):
    """Its BatchNorm cannot be folded: another layer, too, takes the convolution's output."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        return self.last((self.norm(z) + z).tanh().flatten(1))


class Plain(nn.Module):
    """Nothing to fold."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x).tanh().flatten(1))


class Restless(Moody):
    """Draws at random at every call."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + torch.rand(1).to(x))


@pytest.fixture(autouse=True)
def weights() -> None:
    """The same in every run: of some at random, no copy in bf16 is faithful."""
    torch.manual_seed(0)


NETS = {"moody": lambda: moody().float(), "twice": Twice, "plain": Plain}


def made(net: nn.Module, **settings) -> CraftingNet:
    config = replace(config_of("thrm", 3.0), **settings)
    found = crafting_net(net, config, INPUTS, "cpu")
    assert found is not None
    return found


def shaken(net: nn.Module) -> nn.Module:
    """The net with other weights and statistics, as after some training."""
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor.mul_(0.5 + torch.rand(tensor.shape, generator=rng))
    return net


def logits_of(net: nn.Module, x: Tensor = X) -> Tensor:
    with eval_mode(net), torch.no_grad():
        return net(x)


@pytest.mark.parametrize("name", NETS)
def test_a_copy_in_bf16_follows_the_net(name: str) -> None:
    """Weights in bf16 but for BatchNorm's; logits of the net that has moved, within bf16's digits;
    the addresses stay.
    """
    net = NETS[name]()
    found = made(net, precision="bf16")
    assert found.copied is not None and found.copied is not net
    types = {tensor.dtype for tensor in found.copied.parameters()}
    assert types == {torch.bfloat16} | ({torch.float32} if name == "twice" else set())
    before = [tensor.data_ptr() for tensor in found.copied.parameters()]
    old = logits_of(net)
    new = logits_of(shaken(net))
    spread = float((new.amax(1) - new.amin(1)).max())
    with torch.no_grad():
        assert (found.asked(X) - old).abs().max() < 0.03 * spread  # as yet
        with found.current() as asked:
            off = (asked(X) - new).abs().max()
    assert off < 0.03 * spread < 0.3 * (new - old).abs().max()
    assert [tensor.data_ptr() for tensor in found.copied.parameters()] == before
    assert asked(X).dtype == torch.float32
    assert not any(p.requires_grad for p in found.copied.parameters())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_recorded_refresh_takes_over_what_is_there_at_each_replay(name, precision) -> None:
    net = NETS[name]()
    found, twin = (made(net, precision=precision) for _ in range(2))
    tape = Tape()
    for round_ in range(5):
        with torch.no_grad():
            next(net.parameters()).add_(0.1 * round_)
        shaken(net)
        with use(tape), found.current() as asked:
            recorded = logits_of(asked)
        with twin.current() as asked:
            assert recorded.equal(logits_of(asked))
    copies = precision == "bf16" or found.copied is not None
    assert (tape.records, tape.replays) == ((1, 3) if copies else (0, 0))


def test_the_precision_of_crafting_is_a_setting_of_its_own() -> None:
    """`auto` is that of the step; what version 0.2.0 has stored does not name it."""
    for precision in ("fp32", "bf16"):
        for craft in ("auto", "fp32", "bf16"):
            net = moody().float()
            found = made(net, precision=precision, craft_precision=craft)
            expected = precision if craft == "auto" else craft
            half = next(found.asked.parameters()).dtype == torch.bfloat16
            assert half == (expected == "bf16")
    stored = to_json(replace(config_of("thrm", 3.0), precision="bf16"))
    old = json.loads(stored)
    del old["craft_precision"], old["schema_version"]
    assert from_json(TrainConfig, json.dumps(old)) == from_json(TrainConfig, stored)


def test_a_net_of_distances_is_asked_in_fp32() -> None:
    net = make_model("linf_dist", INPUTS, width=4)
    found = made(net, precision="bf16")
    assert found.asked is net and found.copied is None


def test_a_net_no_copy_of_which_answers_alike_is_asked_itself(caplog) -> None:
    caplog.set_level(logging.INFO)
    net = Restless()
    found = made(net, precision="bf16")
    assert isinstance(found.asked, Autocast) and found.asked.model is net
    lines = [r.getMessage() for r in caplog.records if "bf16" in r.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("crafted on weights in fp32, with products in bf16: ")
    seen = []
    net.last.register_forward_hook(lambda *args: seen.append((args[-1].dtype, net.norm.training)))
    with found.current() as asked:
        assert asked(X).dtype == torch.float32
    assert seen == [(torch.bfloat16, False)]
    assert net.norm.training
    assert made(net).asked is net  # in fp32, too


def test_what_crafts_nothing_needs_no_copy() -> None:
    net = moody().float()
    for objective, lam in OBJECTIVES:
        crafts = objective in ("pgd_at", "fast_at") or (objective != "standard" and lam > 0)
        found = crafting_net(net, config_of(objective, lam), INPUTS, "cpu")
        assert (found is not None) == crafts


def test_copies_are_tried_on_the_same_two_images_by_all_processes(monkeypatch) -> None:
    """Or one process would take a copy that another one refuses."""
    seen = []
    monkeypatch.setattr(
        "fftune.training.crafting_net.fold", lambda net, x: seen.append((net.training, x))
    )
    made(moody().float())
    expected = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    ((training, x),) = seen
    assert not training
    assert x.equal(expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_making_a_copy_leaves_net_and_generators_alone(precision) -> None:
    """Float nets, as the probe is; statistics stay, modes stay, and nobody's draws are used up."""
    for net, folds in ((moody().float(), True), (Restless(), False)):
        before = copy.deepcopy(net.state_dict())
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        found = made(net, precision=precision)
        assert torch.rand(3).equal(expected)
        assert (found.copied is not None) == folds
        assert all(module.training for module in net.modules())
        assert all(p.requires_grad for p in net.parameters())
        for name, value in net.state_dict().items():
            assert value.equal(before[name])


def test_crafted_in_bf16_the_loss_is_hardly_less() -> None:
    """Judged by the net in fp32: at least 98 % of what crafting in fp32 gains. A copy that has
    not followed the net gains far less.
    """
    gains = {}
    for name, craft in {"fp32": "fp32", "bf16": "bf16", "stale": "bf16"}.items():
        net = moody().float()
        config = replace(config_of("pgd_at"), craft_precision=craft)
        found = crafting_net(net, config, INPUTS, "cpu")
        with torch.no_grad():
            net.last.weight.neg_()
        if name == "stale":
            found = CraftingNet(source=found.asked, asked=found.asked)
        stepper = Stepper(
            config=config,
            model=net,
            crafted_on=found,
            wrapped=net,
            loss=loss_of(config),
            crafting=objective_of(config).crafting,
            processes=1,
            device="cpu",
        )
        x = torch.rand(64, 2, 4, 4, generator=torch.Generator().manual_seed(2))
        y = torch.arange(64) % 3
        x_pert = stepper._part(torch.arange(64), x, y, Noise(0)).inputs
        loss, clean = (
            float(nn.functional.cross_entropy(logits_of(net, z), y)) for z in (x_pert, x)
        )
        gains[name] = loss - clean
    assert gains["fp32"] > 0
    assert gains["bf16"] >= 0.98 * gains["fp32"]
    assert gains["stale"] < 0
