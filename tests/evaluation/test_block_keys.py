"""Which examples a block has rows of, what they are called, and what defenses add to them."""

from dataclasses import replace

import pytest
import torch
from cells import (
    BLOCK,
    CLASSES,
    IDS,
    NOISE,
    Quarter,
    Says,
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
from torch import Tensor, nn

from fftune.config import HedgeConfig, ThreatModel
from fftune.defenses import AdaptiveAccess, Hedge, hedge
from fftune.errors import DataError, ModelError
from fftune.evaluation.block import judged_block
from fftune.evaluation.choice import Choice
from fftune.evaluation.defended import CLEAN
from fftune.evaluation.model_under_test import logits_of
from fftune.evaluation.tiers import AttackStage
from fftune.keyed_noise import Noise


@pytest.fixture
def searches(monkeypatch) -> Searches:
    return Searches(monkeypatch)


def test_scope_wrong_is_of_mistakes_alone(searches) -> None:
    searches.set("pgd", move({}))
    rows = frame(model_under_test(), attack(part(), scope="wrong", goal="hypocritical"))
    assert rows["id"].tolist() == [8, 52] and rows["target"].tolist() == [0, 3]
    assert searches.given[0]["ids"] == [8, 52]
    # Without a defense there are no other mistakes.
    rows = frame(model_under_test(), attack(part(), scope="mistaken", goal="hypocritical"))
    assert rows["id"].tolist() == [8, 52]


@pytest.mark.parametrize("scope", ["all", "wrong"])
def test_a_block_without_such_examples_has_no_rows(scope: str, searches) -> None:
    searches.set("pgd", move({}))
    kept = slice(0, 3) if scope == "wrong" else slice(0, 0)
    data = (IDS[kept], images()[kept], Y[kept])
    one = attack(part(), scope=scope)
    defense_set = guard_of({"random": HedgeConfig(eps_d=0.1, steps=0)})
    net = Quarter()
    assert len(frame(model_under_test(net=net, defense_set=defense_set), one, data)) == 0
    assert not searches.given and len(net.asked) == 1  # when clean, and never again
    rows, margins = judged_block(model_under_test(), data, one, noise=NOISE)
    assert len(rows) == 0 and margins == {}


def test_margins_are_first_less_second_logit(searches) -> None:
    """At .375 and .5: 0 to .25 off the centre of class 1, so that .25 and 0 remain."""
    searches.set("pgd", move({4: 0.5, 30: 0.1875}))
    rows, found = judged_block(model_under_test(), BLOCK, attack(part()), noise=NOISE)
    assert rows.to_pandas().equals(frame(model_under_test(), attack(part())))
    assert found == pytest.approx({30: 0.125, 4: 0, 17: 0.25, 8: 0.25, 52: 0.25})


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [0, -1, 2, 3, 1], [7, 1, 2, 3, 1]])
def test_labels_that_are_no_classes_are_refused(labels: list[int]) -> None:
    low, high = min(labels), max(labels)
    with pytest.raises(DataError, match=f"from 0 to 3, got {low} to {high}$"):
        frame(model_under_test(), attack(part()), (IDS, images(), torch.tensor(labels)))
    frame(model_under_test(), attack(part(steps=0)), (IDS, images(), torch.tensor([0, 3, 1, 2, 3])))


class Fixed(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return self.logits


@pytest.mark.parametrize(
    ("logits", "said"),
    [
        (torch.zeros(5, 3), "^net tells 3 classes apart, cells has 4$"),
        (torch.zeros(5, 6), "^net tells 6 classes apart, cells has 4$"),
        (torch.zeros(4, 4), r"^net returned \(4, 4\), expected \(5, 4\)$"),
        (torch.zeros(4, 3), r"^net returned \(4, 3\), expected \(5, 4\)$"),
        (torch.zeros(5), r"^net returned \(5,\), expected \(5, 4\)$"),
        (torch.zeros(5, 4, 1), r"^net returned \(5, 4, 1\), expected \(5, 4\)$"),
        (torch.zeros(5, 3, 1), r"^net returned \(5, 3, 1\), expected \(5, 4\)$"),
        (torch.zeros(5, 4).index_fill(0, torch.tensor(2), torch.nan), "not finite"),
        (torch.zeros(5, 4).index_fill(1, torch.tensor(3), torch.inf), "not finite"),
    ],
)
def test_nets_that_answer_something_else_are_refused(logits: Tensor, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        logits_of(model_under_test(net=Fixed(logits)), images())


def test_verdicts_leave_no_graph() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 4))
    assert not logits_of(model_under_test(net=net), images()).requires_grad


# Names of what was done.

HEDGES = [HedgeConfig(eps_d=0.1, steps=1), HedgeConfig(eps_d=0.2, steps=1)]
BASE = part(steps=1)
OTHERS = [
    replace(BASE, config=replace(BASE.config, steps=2)),
    replace(BASE, config=replace(BASE.config, step_size=0.01)),
]


def through(hedge: HedgeConfig = HEDGES[0], **settings) -> AttackStage:
    """A search through a hedge."""
    return replace(BASE, access=AdaptiveAccess(defense=Hedge(config=hedge), **settings))


DIFFERENT = {
    "one": attack(BASE),
    "of more steps": attack(OTHERS[0]),
    "of shorter steps": attack(OTHERS[1]),
    "two": attack(BASE, OTHERS[0]),
    "another two": attack(BASE, OTHERS[1]),
    "in the other order": attack(OTHERS[1], BASE),
    "three": attack(BASE, OTHERS[0], OTHERS[0]),
    "of another loss": attack(BASE, replace(OTHERS[0], loss="margin")),
    "through a hedge": attack(through()),
    "through another": attack(through(HEDGES[1])),
    "over draws": attack(through(draws=2)),
    "over the losses of draws": attack(through(draws=2, averaging="losses")),
    "with a known draw": attack(through(leaked_draw=0)),
    "with the next draw": attack(through(leaked_draw=1)),
    "also through a hedge": attack(BASE, through()),
    "chosen": attack(BASE, choice=Choice(defense=Hedge(config=HEDGES[0]), draws=2)),
    "chosen over more": attack(BASE, choice=Choice(defense=Hedge(config=HEDGES[0]), draws=3)),
    "chosen behind another": attack(BASE, choice=Choice(defense=Hedge(config=HEDGES[1]), draws=2)),
}


def test_no_two_different_attacks_share_a_name(searches) -> None:
    """Rows are keyed by this hash: a part, an order, a defense or a draw more is another key."""
    searches.set("pgd", move({}))
    subject = model_under_test(defense_set=guard_of({"hedge": HEDGES[0], "random": HEDGES[1]}))
    named: dict[str, tuple[str, str]] = {}
    for what, one in DIFFERENT.items():
        rows = frame(subject, one)
        for defense in ("none", "hedge", "random"):
            (name,) = set(rows.loc[rows["defense"] == defense, "config_hash"])
            assert name not in named, (what, defense, named[name])
            named[name] = (what, defense)
    assert len(named) == 3 * len(DIFFERENT)
    again = frame(subject, DIFFERENT["two"])
    assert set(again["config_hash"]) <= named.keys()


def test_the_same_defense_by_another_radius_is_another_name(searches) -> None:
    searches.set("pgd", move({}))
    names = set()
    for defense in HEDGES:
        rows = frame(model_under_test(defense_set=guard_of({"hedge": defense})), attack(BASE))
        names |= set(rows.loc[rows["defense"] == "hedge", "config_hash"])
    assert len(names) == 2


# Behind defenses.


def test_every_draw_of_every_defense_scores_the_same_examples(searches) -> None:
    """By the untouched net, on what its own slopes made of the perturbed inputs; searches alone
    ask the copy, which says class 2 of everything and has no slope."""
    searches.set("pgd", move({30: 0.375, 17: 0.5625}))
    net, surrogate = Quarter(), Says(2)
    hedges = {"hedge": HedgeConfig(eps_d=0.2, steps=2), "random": HedgeConfig(eps_d=0.15, steps=0)}
    defense_set = guard_of(hedges, repeats=3, control=5)
    rows = frame(
        model_under_test(net=net, surrogate=surrogate, defense_set=defense_set),
        attack(part(steps=2)),
    )
    assert len(rows) == 5 * (1 + 2 * 3)
    x_pert = images(torch.tensor([0.375, 0.375, 0.5625, 0.875, 0.125]))
    for name, config in hedges.items():
        for repeat in range(3):
            at = rows[(rows["defense"] == name) & (rows["defense_repeat"] == repeat)]
            noise = defense_set.noise.fold(repeat)
            x_hed = hedge(Quarter(), x_pert, config=config, noise=noise, ids=IDS)
            pred = Quarter()(x_hed).argmax(1)
            assert at["pred_pert"].tolist() == pred.tolist()
            assert at["success"].tolist() == (pred != Y).tolist()
            assert at["pred_clean"].tolist() == CLASSES.tolist()
            assert at["distance"].tolist() == [0.25, 0, 0.0625, 0, 0]
            assert set(at["forwards"]) == {config.steps + 1}
            assert set(at["backwards"]) == {config.steps} and set(at["queries"]) == {1}


def test_the_control_has_a_draw_for_every_attack_and_the_others_their_repeats(searches) -> None:
    searches.set("pgd", move({}))
    defense_set = guard_of({"random": HedgeConfig(eps_d=0.1, steps=0)}, repeats=2, control=5)
    subject = model_under_test(defense_set=defense_set)
    for name, draws in ((CLEAN, 5), ("x", 2)):
        rows = frame(subject, replace(attack(part(steps=0)), name=name))
        defended = rows[rows["defense"] == "random"]
        assert sorted(set(defended["defense_repeat"])) == list(range(draws))
        assert len(defended) == 5 * draws


def test_a_friends_success_behind_a_defense_is_the_true_class(searches) -> None:
    searches.set("pgd", move({8: 0.124}))
    defense_set = guard_of({"none": HedgeConfig(eps_d=0.0, steps=0)})
    wide = part(threat=ThreatModel(eps=1.0))
    rows = frame(model_under_test(defense_set=defense_set), attack(wide, goal="hypocritical"))
    behind = rows[rows["defense"] != "none"] if set(rows["defense"]) != {"none"} else rows[5:]
    assert behind["pred_pert"].tolist() == [0, 1, 2, 0, 0]
    assert behind["success"].tolist() == [True, True, True, True, False]


def test_scope_mistaken_adds_those_of_any_draw_that_tells_mistakes(searches) -> None:
    searches.set("pgd", move({}))
    hedges = {
        "random": HedgeConfig(eps_d=0.3, steps=0),
        "hedge": HedgeConfig(eps_d=0.2, steps=1),
    }
    defense_set = guard_of(hedges, repeats=3)
    net = Quarter()
    wrong = CLASSES != Y
    for config in hedges.values():
        for draw in (3, 4, 5):
            x_hed = hedge(net, images(), config=config, noise=defense_set.noise.fold(draw), ids=IDS)
            wrong |= Quarter()(x_hed).argmax(1) != Y
    subject = model_under_test(defense_set=defense_set, net=net, surrogate=Says(2))
    rows = frame(subject, attack(part(), scope="mistaken", goal="hypocritical"))
    bare = rows[rows["defense"] == "none"]
    assert bare["id"].tolist() == IDS[wrong].tolist()
    # What is known of a block is not asked again.
    first = len(net.asked)
    again = frame(subject, attack(part(), scope="mistaken", goal="hypocritical"))
    assert len(net.asked) - first < first and again.equals(rows)
    # Whoever goes to the bare net's mistakes alone does not care.
    rows = frame(subject, attack(part(), scope="wrong", goal="hypocritical"))
    assert rows.loc[rows["defense"] == "none", "id"].tolist() == [8, 52]


def test_who_knows_a_draw_searches_behind_it_with_the_examples_own_ids() -> None:
    """A known draw is the defender's; without one the attacker's own branch is read."""
    hedges = {"random": HedgeConfig(eps_d=0.2, steps=0)}
    defense_set = guard_of(hedges)
    seen: list[tuple[Noise, list[int]]] = []

    class Spy(AdaptiveAccess):
        def wrap(self, model, *, noise, defender):
            seen.append((noise.noise, noise.ids.tolist(), defender))
            return model

    access = Spy(defense=Hedge(config=hedges["random"]), leaked_draw=0)
    frame(
        model_under_test(defense_set=defense_set),
        attack(replace(part(steps=1), access=access), scope="wrong"),
    )
    assert seen == [(NOISE, [8, 52], defense_set.noise)]
