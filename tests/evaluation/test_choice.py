"""Choice among the points of several searches, by an attacker with draws of his own."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from cells import (
    CLASSES,
    IDS,
    NOISE,
    Quarter,
    Searches,
    Y,
    attack,
    frame,
    guard_of,
    images,
    model_under_test,
    move,
    part,
)
from torch import Tensor

from fftune.config import HedgeConfig
from fftune.defenses import AdaptiveAccess, Defense, Hedge, hedge
from fftune.evaluation.batteries import Attack
from fftune.evaluation.block import searched
from fftune.evaluation.choice import Choice, preferred
from fftune.keyed_noise import ExampleNoise, Noise

SHAKE = HedgeConfig(eps_d=0.1, steps=0)
DRAWS = 5


@pytest.fixture
def searches(monkeypatch) -> Searches:
    return Searches(monkeypatch)


def chosen(*stages, **settings) -> Attack:
    choice = Choice(defense=Hedge(config=SHAKE), draws=DRAWS)
    return attack(*stages, choice=choice, **settings)


def wins(x: Tensor) -> Tensor:
    """(5,) number of the attacker's own draws behind which the net is wrong, by hand."""
    found = torch.zeros(5, dtype=torch.int64)
    for draw in range(DRAWS):
        x_def = hedge(Quarter(), x, config=SHAKE, noise=NOISE.fold("choice", draw), ids=IDS)
        found += Quarter()(x_def).argmax(1) != Y
    return found


@pytest.mark.parametrize("order", [("pgd", "fgsm"), ("fgsm", "pgd")])
def test_the_point_that_fools_most_draws_is_handed_over(order, searches) -> None:
    """Just over the border at .25, a shake of .1 often leads back; from .36 it never does."""
    near = {30: 0.26, 4: 0.24, 17: 0.75}
    far = {30: 0.36, 4: 0.375, 17: 0.76}
    searches.set("pgd", move(near))
    searches.set("fgsm", move(far))
    stages = [part(name) for name in order]
    defense_set = guard_of({"random": SHAKE})
    subject = model_under_test(defense_set=defense_set)
    block = (IDS, images(), Y)
    found = searched(subject, block, chosen(*stages), NOISE).x_pert.flatten()
    points = [torch.tensor([0.26, 0.24, 0.75, 0.875, 0.125]), torch.tensor([0.36, 0.375, 0.76])]
    one, two = wins(images(points[0])), wins(images(torch.cat([points[1], points[0][3:]])))
    assert 0 < one[0] < two[0] == DRAWS and one[1] > two[1] == 0
    assert found[:2].tolist() == pytest.approx([0.36, 0.24])
    # Of the third, both are fooled equally often; further over the border is more.
    assert one[2] == two[2] and found[2].item() == pytest.approx(0.76)


def test_every_search_tries_every_example(searches) -> None:
    """Whatever the others did to the bare net: a success there may be none behind the defense."""
    searches.set("pgd", move({30: 0.375, 4: 0.625, 17: 0.875}))
    searches.set("fgsm", move({30: 0.375}))
    for protocol in (None, "first_success"):
        searches.given.clear()
        stages = [part(name, protocol=protocol) for name in ("pgd", "fgsm", "pgd")]
        rows = frame(model_under_test(), chosen(*stages))
        assert searches.tried == [(name, IDS.tolist()) for name in ("pgd", "fgsm", "pgd")]
        assert rows["pred_pert"].tolist() == [1, 2, 3, 3, 0]


def test_stages_go_through_a_defense_or_not_each_as_it_says(searches) -> None:
    searches.set("pgd", move({}))
    access = AdaptiveAccess(defense=Hedge(config=SHAKE))
    stages = [part(), replace(part(), access=access), part()]
    frame(model_under_test(defense_set=guard_of({"random": SHAKE})), chosen(*stages))
    kinds = [type(given["net"]).__name__ for given in searches.given]
    assert kinds == ["QueryCounter", "Defended", "QueryCounter"]


def test_friends_choose_what_is_right_behind_most_draws(searches) -> None:
    searches.set("pgd", move({8: 0.24}))
    searches.set("fgsm", move({8: 0.125}))
    one = chosen(part("pgd"), part("fgsm"), goal="hypocritical", scope="wrong")
    subject = model_under_test(defense_set=guard_of({"random": SHAKE}))
    wide = [
        replace(s, config=replace(s.config, threat=replace(s.config.threat, eps=1.0)))
        for s in one.stages
    ]
    found = searched(subject, (IDS, images(), Y), replace(one, stages=tuple(wide)), NOISE)
    assert found.ids.tolist() == [8, 52] and found.x_pert.flatten().tolist() == [0.125, 0.125]


@dataclass(frozen=True)
class Spy(Defense):
    """A defense that moves nothing and notes which noise it was given."""

    heard: ClassVar[list[Noise]] = []

    def purify(self, model, x, *, noise, ids):
        self.heard.append(noise)
        return x


def test_the_judged_draws_are_never_read(searches) -> None:
    """All draws are the attacker's: the choice's on a branch of its own, the searches' on another.
    Every point meets the same ones."""
    defense_set = replace(guard_of({}), defenses={"spy": Spy()})
    subject = model_under_test(defense_set=defense_set)
    Spy.heard.clear()
    stages = [replace(part(steps=2), access=AdaptiveAccess(defense=Spy())), part(steps=1)]
    one = attack(*stages, choice=Choice(defense=Spy(), draws=2))
    searched(subject, (IDS, images(), Y), one, NOISE)
    mine = [NOISE.fold("choice", draw) for draw in range(2)]
    own = [noise for noise in Spy.heard if noise not in mine]
    assert [noise for noise in Spy.heard if noise in mine] == mine * 2
    assert own and all(noise.path[:3] == (*NOISE.path, "aware") for noise in own)
    assert not any(
        noise.path[: len(defense_set.noise.path)] == defense_set.noise.path for noise in Spy.heard
    )


def test_what_the_choice_asks_is_counted(searches) -> None:
    """Two points behind two draws of two steps: 12 passes, of which 8 take gradients."""
    searches.set("pgd", move({}))
    two = Hedge(config=HedgeConfig(eps_d=0.1, steps=2))
    one = attack(part(), part(), choice=Choice(defense=two, draws=2))
    rows = frame(model_under_test(), one)
    assert set(rows["forwards"]) == {12} and set(rows["backwards"]) == {8}
    assert one.choice.passes == 2 * (3 * 2 + 1)


def test_goals_without_a_margin_choose_by_the_cross_entropy() -> None:
    noise = ExampleNoise(NOISE, IDS)
    choice = Choice(defense=Hedge(config=SHAKE), draws=2)
    clean = Quarter()(images())
    still = preferred(
        choice, Quarter(), [images()] * 2, "label_free", label=Y, clean=clean, noise=noise
    )
    assert torch.equal(still, images()) and clean.argmax(1).tolist() == CLASSES.tolist()


def test_of_points_that_are_equally_good_the_first_is_handed_over() -> None:
    """The net does not see the second pixel, in which they differ."""

    class FirstPixel(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            lead = x.flatten(1)[:, 0] - 0.5
            return torch.stack([torch.zeros_like(lead), lead], 1)

    x = torch.tensor([[0.75, 0.0], [0.25, 0.0]]).view(2, 1, 1, 2)
    other = x + torch.tensor([0.0, 1.0])
    label, still = torch.zeros(2, dtype=torch.int64), Choice(defense=Spy(), draws=3)
    kept = {"label": label, "clean": FirstPixel()(x), "noise": ExampleNoise(NOISE, label)}
    for points in ([x, other], [other, x]):
        found = preferred(still, FirstPixel(), points, "adversarial", **kept)
        assert torch.equal(found, points[0])
