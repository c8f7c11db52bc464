"""The l_inf-distance net by its own recipe, and what its certificate then says."""

from dataclasses import replace

import pytest
import torch

from fftune.attacks import pgd
from fftune.certified import certify
from fftune.config import AttackConfig, TrainConfig
from fftune.data import load
from fftune.errors import ConfigError
from fftune.keyed_noise import Noise
from fftune.models import linf_training as linf_recipe
from fftune.models import weights_hash
from fftune.models.linf_dist import LinfDist
from fftune.models.linf_training import LinfDistTraining
from fftune.recipes import Basis, training
from fftune.training.train import train


@pytest.fixture(scope="module")
def config() -> TrainConfig:
    config = training("linf_dist", Basis(scale="tiny"))
    settings = replace(config.optimizer, epochs=40, batch_size=25)
    return replace(config, width=32, optimizer=settings)


def test_the_published_recipe() -> None:
    """Batches of 512 for 800 epochs from a rate of .02 with a decay of .005 (CHECKLIST 30)."""
    full = training("linf_dist", Basis(scale="full"))
    assert (full.model, full.width, full.objective) == ("linf_dist", None, "linf_dist")
    settings = full.optimizer
    assert (settings.epochs, settings.batch_size, settings.lr) == (800, 512, 0.02)
    assert (settings.weight_decay, settings.algorithm) == (5e-3, "adam_lp")
    assert settings.schedule == "held_cosine"


def test_p_rises_to_infinity_and_the_threshold_is_that_of_the_certificate(config) -> None:
    data = load(config.data, "train")
    model = LinfDist(data.inputs, width=8)
    training_ = LinfDistTraining.of(model, config, steps=800)
    seen = []
    for done in (0, 100, 425, 749, 750, 799):
        training_.before_step(done)
        seen.append(model.p)
    assert seen[:2] == [8.0, 8.0]
    assert seen[2] == pytest.approx((8 * 1000) ** 0.5)
    assert seen[3] < 1000 < seen[4] == seen[5] == float("inf")
    assert training_.threshold == pytest.approx(2 * 0.1568 / 0.2009)


@pytest.mark.slow
def test_it_learns_and_no_attack_beats_its_certificate(config) -> None:
    checkpoint = train(config)
    model = checkpoint.model
    assert isinstance(model, LinfDist)
    assert model.p == float("inf")
    assert checkpoint.history[-1].accuracy > 0.5
    _, x, y = next(load(config.data, "test").batches(300))
    threat = replace(config.attack.threat, eps=0.02)
    counts = certify(model, x, y, threat=threat)
    attack = AttackConfig(threat=threat, steps=20)
    ids = torch.arange(len(y))
    wrong = model(x).argmax(1) != y
    concealed, fooled = (
        pgd(model, x, y, config=attack, goal=goal, loss="ce", noise=Noise(0), ids=ids)
        for goal in ("hypocritical", "adversarial")
    )
    assert int((wrong & (model(concealed).argmax(1) == y)).sum()) <= counts.concealable
    assert int((model(fooled).argmax(1) == y).sum()) >= counts.stays_right
    assert counts.stays_right > 0  # the bound says something


def test_its_decay_is_part_of_training(config) -> None:
    short = replace(config, optimizer=replace(config.optimizer, epochs=2))
    without = replace(short, optimizer=replace(short.optimizer, weight_decay=0.0))
    assert weights_hash(train(short).model) != weights_hash(train(without).model)
    assert linf_recipe.EPOCHS == 800


@pytest.mark.parametrize("objective", ["standard", "linf_dist"])
def test_its_optimizer_is_for_this_net_alone(config, objective) -> None:
    with pytest.raises(ConfigError, match="needs model 'linf_dist', got 'small_cnn'"):
        replace(config, objective=objective, model="small_cnn", width=None)
