"""The defenses of a data set's split, and what a draw of one says."""

import pytest
import torch
from cells import IDS, Quarter, guard_of, images

from fftune.config import DefenseConfig, HedgeConfig, ThreatModel
from fftune.defenses import Hedge, hedge
from fftune.evaluation.defended import DefendedPrediction, DefenseSet, defended_hash, predict
from fftune.keyed_noise import ExampleNoise, Noise

THREAT = ThreatModel(norm="l2", eps=0.3)


def of(config: DefenseConfig, *, attacks: int = 1, split: str = "test") -> DefenseSet | None:
    return DefenseSet.of(config, THREAT, source="cells", split=split, attacks=attacks)


@pytest.mark.parametrize(
    ("attacks", "repeats", "control"), [(9, 3, 9), (2, 3, 6), (6, 3, 6), (1, 1, 2), (5, 1, 5)]
)
def test_the_control_has_as_many_draws_as_there_are_attacks(attacks, repeats, control) -> None:
    """And never fewer than those that judge attacks and those that tell the mistakes."""
    defense_set = of(DefenseConfig(names=("random",), repeats=repeats), attacks=attacks)
    assert (defense_set.control, defense_set.repeats) == (control, repeats)


def test_a_guard_has_the_settings_that_were_asked_for() -> None:
    defense_set = of(DefenseConfig(names=("random", "none", "hedge"), steps=7, draws=6, seed=9))
    full = HedgeConfig(norm="l2", eps_d=0.3, steps=7)
    assert defense_set.defenses == {
        "random": Hedge(config=HedgeConfig(norm="l2", eps_d=0.3, steps=0)),
        "hedge": Hedge(config=full),
    }
    assert defense_set.draws == 6
    assert defense_set.noise == Noise(9).fold("defense", "cells", "test")
    other = of(DefenseConfig(names=("random",), seed=9), split="validation")
    assert other.noise == Noise(9).fold("defense", "cells", "validation")


@pytest.mark.parametrize("names", [(), ("none",)])
def test_without_a_defense_there_is_no_guard(names) -> None:
    assert of(DefenseConfig(names=names)) is None


def test_each_draw_is_keyed_by_its_repeat_and_the_examples_id() -> None:
    """All attacks meet the same draws: whatever is asked first, and however many are."""
    hedges = {
        "random": HedgeConfig(eps_d=0.3, steps=0),
        "hedge": HedgeConfig(eps_d=0.2, steps=3),
    }
    defense_set, net = guard_of(hedges), Quarter()
    verdicts = list(defense_set.predictions(net, images(), IDS, 4))
    assert [(v.name, v.repeat) for v in verdicts] == [
        (name, repeat) for name in hedges for repeat in range(4)
    ]
    preds = []
    for verdict in verdicts:
        config = hedges[verdict.name]
        noise = defense_set.noise.fold(verdict.repeat)
        expected = net(hedge(net, images(), config=config, noise=noise, ids=IDS)).argmax(1)
        assert torch.equal(verdict.pred, expected) and verdict.defense == Hedge(config=config)
        passes = [config.steps + 1, config.steps, 1, 0]
        assert verdict.counts.tolist() == [[n] * 5 for n in passes]
        preds.append(expected.tolist())
    assert len({tuple(pred) for pred in preds}) > 2  # draws differ
    few = torch.tensor([4, 1])
    part = list(defense_set.predictions(net, images()[few], IDS[few], 2))
    assert [v.pred.tolist() for v in part] == [
        v.pred[few].tolist() for v in verdicts if v.repeat < 2
    ]


class Up(Quarter):
    """Says quarters; a term of value 0 makes the sum of all classes' losses grow with the pixel."""

    def forward(self, x):
        logits, pixel = super().forward(x), x.flatten(1)
        tilt = 1000 * (logits.softmax(1) - 0.25).detach()
        return logits + tilt * (pixel - pixel.detach())


def test_the_net_that_gives_the_verdict_is_the_one_that_a_defense_follows() -> None:
    """One step up by a quarter, from the net's own slope; the net then says where pixels are."""
    config = HedgeConfig(eps_d=0.25, steps=1, step_size=0.25, start="none")
    x = torch.tensor([0.125, 0.375, 0.5625])
    noise = ExampleNoise(Noise(0), torch.arange(3))
    found = predict(Up(), images(x), defense=Hedge(config=config), noise=noise)
    assert found.tolist() == [1, 2, 3]
    still = Hedge(config=HedgeConfig(eps_d=0.0, steps=0))
    assert predict(Up(), images(x), defense=still, noise=noise).tolist() == [0, 1, 2]


def test_a_verdict_takes_no_gradients() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 4))
    asked: list[bool] = []
    net.register_forward_hook(lambda *a: asked.append(a[-1].requires_grad))
    still = HedgeConfig(eps_d=0.1, steps=0)
    predict(
        net,
        images(),
        defense=Hedge(config=still),
        noise=ExampleNoise(Noise(0), IDS),
    )
    assert asked == [False]


def test_a_hash_names_both_the_attack_and_the_defense() -> None:
    def verdict(config: HedgeConfig, repeat: int = 0) -> DefendedPrediction:
        nothing = torch.zeros(0, dtype=torch.int64)
        return DefendedPrediction(
            name="hedge",
            defense=Hedge(config=config),
            repeat=repeat,
            pred=nothing,
            counts=nothing,
        )

    attacks = [HedgeConfig(steps=1), HedgeConfig(steps=2)]  # any settings
    defenses = [HedgeConfig(steps=3), HedgeConfig(steps=4), HedgeConfig(steps=1)]
    names = {defended_hash(attack, verdict(d)) for attack in attacks for d in defenses}
    assert len(names) == 6
    # Repeats have a column of their own.
    assert defended_hash(attacks[0], verdict(defenses[0], 2)) in names
    swapped = {
        defended_hash(attacks[1], verdict(attacks[0])),
        defended_hash(attacks[0], verdict(attacks[1])),
    }
    assert len(swapped) == 2
