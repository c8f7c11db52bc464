"""The strongest adaptive attack: what it is made of, and that it finds optima that are known."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from fftune.config import DefenseConfig, HedgeConfig, ThreatModel
from fftune.defenses import Defense, Hedge
from fftune.evaluation.adaptive import adaptive_attacks, is_adaptive, strongest
from fftune.evaluation.batteries import risks, targets
from fftune.evaluation.block import attack_block, searched
from fftune.evaluation.cost_model import passes
from fftune.evaluation.defended import DefenseSet, Effort
from fftune.evaluation.model_under_test import ModelUnderTest
from fftune.keyed_noise import Noise

EPS, C = 0.1, 0.5
THREAT = ThreatModel(eps=EPS)
SCORES = torch.tensor([0.05, 0.15, 0.24, 0.26, 0.4])
"""Behind a flip: an attacker can move a score by EPS (2 + C) = .25."""


class Linear(nn.Module):
    """Logits (0, a + c b - z) of images of three pixels (a, b, z)."""

    def forward(self, x: Tensor) -> Tensor:
        score = x.flatten(1) @ torch.tensor([1.0, C, -1.0])
        return torch.stack([torch.zeros_like(score), score], 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(Defense):
    """Mirrors an image, or leaves it as it is: what helps against one lets the other be."""

    share: float = 1.0
    """Probability of a flip."""

    def purify(self, model, x, *, noise, ids):
        flips = noise.uniform(ids, (1,)).view(-1, 1, 1, 1) < self.share
        return torch.where(flips, x.flip(3), x)

    @property
    def differentiable(self) -> bool:
        return True


def images(scores: Tensor) -> Tensor:
    """Of these scores, flipped or not: the outer pixels are equal."""
    x = torch.full((len(scores), 1, 1, 3), 0.5)
    x[:, 0, 0, 1] = scores / C
    return x


def under(defense: Defense, *, repeats: int = 1) -> ModelUnderTest:
    noise = Noise(5).fold("defense", "flips", "test")
    defense_set = DefenseSet(
        defenses={"flip": defense}, repeats=repeats, control=1, noise=noise, draws=4
    )
    columns = {"dataset_hash": "d", "split": "test", "model_hash": "m"}
    net = Linear()
    return ModelUnderTest(
        net=net,
        surrogate=net,
        surrogate_lowp=net,
        classes=2,
        columns=columns,
        defense_set=defense_set,
    )


def block(label: int):
    return torch.arange(5), images(SCORES), torch.full((5,), label)


def corner(sign: int) -> Tensor:
    """The point of the ball where the flipped score is smallest (-1) or largest (1)."""
    away = sign * EPS * torch.tensor([-1.0, 1.0, 1.0])
    return (images(SCORES) + away).clamp(0, 1)


@pytest.mark.parametrize("share", [1.0, 0.7])
def test_an_adversary_finds_the_optimum_where_transfer_does_not(share: float) -> None:
    """The bare net's own corner is the worst one behind a flip."""
    effort = Effort(steps=12, targets=5, choices=15)
    one = strongest("flip", Flip(share=share), "adversarial", THREAT, draws=8, effort=effort)
    subject = under(Flip(share=share), repeats=9)
    attempt = searched(subject, block(1), one, Noise(0))
    torch.testing.assert_close(attempt.x_pert, corner(-1))
    rows = attack_block(subject, block(1), one, noise=Noise(0)).to_pandas()
    rows = rows[rows["defense"] == "flip"]
    fooled = rows.groupby("id")["success"].sum()
    assert fooled[3] == fooled[4] == 0 and (fooled[:3] >= 4).all()
    assert (fooled[:3] == 9).all() == (share == 1)
    transfer = replace(one, stages=one.stages[2:], choice=None)
    rows = attack_block(subject, block(1), transfer, noise=Noise(0)).to_pandas()
    assert rows.loc[rows["defense"] == "none", "success"].tolist() == [True] * 3 + [False] * 2
    assert rows.loc[rows["defense"] == "flip", "success"].sum() <= 9 * 3 * (1 - share)


def test_a_false_friend_finds_its_optimum() -> None:
    """Class 0 is true: a score below 0 behind the flip conceals the mistake, up to .25."""
    effort = Effort(steps=20, targets=5, choices=3)
    one = strongest("flip", Flip(), "hypocritical", THREAT, draws=2, effort=effort)
    subject = under(Flip())
    torch.testing.assert_close(searched(subject, block(0), one, Noise(0)).x_pert, corner(-1))
    rows = attack_block(subject, block(0), one, noise=Noise(0)).to_pandas()
    assert rows.loc[rows["defense"] == "flip", "success"].tolist() == [True] * 3 + [False] * 2


def test_it_is_made_as_the_published_attack_is() -> None:
    """Croce et al. 2022: 50 steps, 5 targets, 4 draws, a hedge of 5 steps for one of 20."""
    config = DefenseConfig(names=("hedge", "random"))
    defense_set = DefenseSet.of(config, THREAT, source="flips", split="test", attacks=2)
    found = {
        (one.name, one.goal): one
        for one in adaptive_attacks(risks(THREAT, 20), defense_set, THREAT)
        if one.name.startswith("adaptive")
    }
    assert list(found) == [
        (f"adaptive-{name}", goal)
        for goal in ("adversarial", "hypocritical")
        for name in ("hedge", "random")
    ]
    hedge = found["adaptive-hedge", "adversarial"]
    parts = [(s.loss, s.config.targets, s.access is not None) for s in hedge.stages]
    assert parts == [("dlr", 5, True), ("margin", 0, True), ("dlr", 5, False)]
    for stage in hedge.stages:
        settings = (stage.config.search, stage.config.steps, stage.config.start)
        assert settings == ("apgd", 50, "uniform") and stage.config.protocol == "best_loss"
    access = hedge.stages[0].access
    assert access.searched == Hedge(config=HedgeConfig(eps_d=EPS, steps=5))
    assert (access.draws, access.averaging, access.leaked_draw) == (4, "losses", None)
    assert hedge.choice.defense == defense_set.defenses["hedge"] and hedge.choice.draws == 5
    assert hedge.choice.defense.config.steps == 20 and hedge.scope == "all"
    friend = found["adaptive-hedge", "hypocritical"]
    parts = [(s.loss, s.config.targets, s.access is not None) for s in friend.stages]
    through = [("dlr", 0, True), ("margin", 0, True), ("ce", 0, True)]
    assert parts == [*through, ("dlr", 0, False), ("margin", 0, False)]
    assert friend.scope == "mistaken" and is_adaptive(friend.name)
    noise = found["adaptive-random", "adversarial"]
    assert noise.stages[0].access.draws == 20  # as many as cost what a hedge's do
    assert noise.stages[0].access.defense == defense_set.defenses["random"]
    few = adaptive_attacks(targets(THREAT, 2, 3), defense_set, THREAT)
    assert {one.scope for one in few if one.name == "adaptive-hedge"} == {"wrong"}


def test_settings_change_its_lengths() -> None:
    config = DefenseConfig(
        names=("hedge",), steps=3, draws=2, search_steps=7, search_targets=2, choices=4
    )
    defense_set = DefenseSet.of(config, THREAT, source="flips", split="test", attacks=2)
    (one,) = (
        one
        for one in adaptive_attacks(risks(THREAT, 20)[:1], defense_set, THREAT)
        if one.name == "adaptive-hedge"
    )
    assert {(s.config.steps, s.config.targets) for s in one.stages} == {(7, 2), (7, 0)}
    assert one.stages[1].access.draws == 2 and one.choice.draws == 4
    # Through a hedge of 3 steps: 4 passes a draw; a gradient is three passes.
    assert passes(one) == 1 + 7 * 3 * (2 * 8 + 8 + 2) + 3 * 4 * (3 * 3 + 1)


def test_balls_that_leave_the_pixels_are_searched_by_pgd() -> None:
    threat = ThreatModel(eps=EPS, clamp=False)
    one = strongest("flip", Flip(), "adversarial", threat, draws=2, effort=Effort(steps=20))
    assert {(s.config.search, s.config.targets) for s in one.stages} == {("pgd", 0)}
    found = searched(under(Flip()), block(1), one, Noise(0)).x_pert
    wide = images(SCORES) + EPS * torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(found, wide)
