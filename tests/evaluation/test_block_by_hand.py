"""Who is searched, on which net, and what a row says of it: with searches made by hand."""

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
    X,
    Y,
    attack,
    frame,
    images,
    model_under_test,
    move,
    part,
)
from torch import Tensor, nn

from fftune.attacks import AttackSpec
from fftune.config import ThreatModel
from fftune.evaluation import block
from fftune.evaluation.block import searched


@pytest.fixture
def searches(monkeypatch) -> Searches:
    return Searches(monkeypatch)


def test_rows_say_what_became_of_each_example(searches) -> None:
    """Of class 0 at .125: to .375 is class 1. 52 was wrong, and the adversary mends it."""
    searches.set("pgd", move({30: 0.375, 17: 0.5625, 52: 0.25}))
    one = attack(part(steps=3), tier="screen")
    rows = frame(model_under_test(), one)
    assert rows["id"].tolist() == IDS.tolist()
    assert rows["y"].tolist() == Y.tolist()
    assert rows["pred_clean"].tolist() == CLASSES.tolist()
    assert rows["pred_pert"].tolist() == [1, 1, 2, 3, 0]
    assert rows["success"].tolist() == [True, False, False, True, True]
    assert rows["distance"].tolist() == [0.25, 0, 0.0625, 0, 0.125]
    for column, value in {
        "dataset_hash": "d",
        "split": "test",
        "model_hash": "m",
        "attack": "x",
        "norm": "linf",
        "eps": 0.25,
        "goal": "adversarial",
        "target": -1,
        "seed": 11,
        "restart": 0,
        "protocol": "last_iterate",
        "tier": "screen",
        "defense": "none",
        "defense_repeat": 0,
        "status": "ok",
    }.items():
        assert set(rows[column]) == {value}, column
    (given,) = searches.given
    assert given["ids"] == IDS.tolist() and given["label"] == Y.tolist()
    assert (given["goal"], given["loss"], given["config"]) == ("adversarial", "ce", one.config)
    assert given["noise"] == NOISE


def test_distances_are_of_the_threats_own_norm(searches) -> None:
    two = torch.tensor([[0.25, 0.5], [0.5, 0.25]]).view(2, 2, 1, 1)
    moved = two + torch.tensor([[0.03, 0.04], [0.0, -0.05]]).view(2, 2, 1, 1)
    moving = AttackSpec(run=lambda *_, **__: moved)
    searches.monkeypatch.setattr(block, "attack_spec", lambda _: moving)
    data = (torch.arange(2), two, torch.zeros(2, dtype=torch.int64))
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 4))
    for norm, expected in (("l2", [0.05, 0.05]), ("linf", [0.04, 0.05])):
        threat = ThreatModel(norm=norm, eps=0.06)
        subject = model_under_test(net=net, surrogate=net, surrogate_lowp=net)
        rows = frame(subject, attack(part(threat=threat)), data)
        assert rows["distance"].tolist() == pytest.approx(expected, abs=1e-6)
        assert set(rows["norm"]) == {norm} and set(rows["eps"]) == {0.06}


@pytest.mark.parametrize(
    ("goal", "target", "told", "succeeded"),
    [
        ("hypocritical", None, Y.tolist(), [False, True, True, True, False]),
        ("targeted", 1, [1] * 5, [True, True, False, False, False]),
        ("label_free", None, [-1] * 5, [True, False, False, True, False]),
    ],
)
def test_each_goal_has_its_own_label_and_its_own_success(
    goal, target, told, succeeded, searches
) -> None:
    """30 goes to class 1, and 8 to class 0, which is its own."""
    searches.set("pgd", move({30: 0.375, 8: 0.124}))
    wide = part(threat=ThreatModel(eps=1.0))
    rows = frame(model_under_test(), attack(wide, goal=goal, target=target))
    assert rows["pred_pert"].tolist() == [1, 1, 2, 0, 0]
    assert rows["target"].tolist() == told
    assert rows["success"].tolist() == succeeded
    assert searches.given[0]["label"] == (Y.tolist() if target is None else [1] * 5)


def test_strong_searches_leave_alone_what_is_won(searches) -> None:
    """8 and 52 are wrong from the start; 30 falls to the first, 17 to the second, 4 to none."""
    searches.set("apgd", move({30: 0.375, 4: 0.5}))
    searches.set("fab", move({17: 0.875}))
    searches.set("square", move({4: 0.3125}))
    stages = (
        part("apgd", protocol="first_success"),
        part("fab", protocol="first_success", loss="margin"),
    )
    last = part("square", protocol="first_success", loss="margin")
    rows = frame(model_under_test(), attack(*stages, last))
    assert searches.tried == [("apgd", [30, 4, 17]), ("fab", [4, 17]), ("square", [4])]
    for given, at in zip(searches.given, ([0, 1, 2], [1, 2], [1]), strict=True):
        assert torch.equal(given["net"].logits_clean, Quarter()(images(X[at])))
    assert rows["success"].tolist() == [True, False, True, True, True]
    assert rows["pred_pert"].tolist() == [1, 1, 3, 3, 0]
    # 8 and 52 are x itself; 4 has what the last one left.
    assert rows["distance"].tolist() == [0.25, 0.0625, 0.25, 0, 0]
    assert set(rows["protocol"]) == {"first_success"}


def test_a_fixed_search_tries_all_and_takes_nothing_away(searches) -> None:
    """As a later part it is the same search as alone, but what is won stays as it was won."""
    searches.set("apgd", move({30: 0.375}))
    searches.set("pgd", move({30: 0.1, 4: 0.625, 8: 0.8, 52: 0.2}))
    both = attack(part("apgd", protocol="first_success"), part("pgd"))
    rows = frame(model_under_test(), both)
    assert searches.tried == [("apgd", [30, 4, 17]), ("pgd", IDS.tolist())]
    assert rows["distance"].tolist() == pytest.approx([0.25, 0.25, 0, 0, 0])
    assert rows["pred_pert"].tolist() == [1, 2, 2, 3, 0]
    assert set(rows["protocol"]) == {"first_success"}
    searches.given.clear()
    rows = frame(model_under_test(), attack(part("pgd")))
    assert searches.tried == [("pgd", IDS.tolist())]
    # Alone, x itself was not tried before: the wrong ones are moved too.
    assert rows["distance"].tolist() == pytest.approx([0.025, 0.25, 0, 0.075, 0.075])


def test_fixed_searches_ask_the_twin_and_strong_ones_the_search_net(searches) -> None:
    for name in ("pgd", "apgd"):
        searches.set(name, move({}))
    subject = model_under_test()
    frame(subject, attack(part("pgd"), part("apgd", protocol="first_success")))
    surrogate, surrogate_lowp = (given["net"].model for given in searches.given)
    assert surrogate is subject.surrogate and surrogate_lowp is subject.surrogate_lowp


def test_denied_successes_are_searched_again_on_the_untouched_net(searches) -> None:
    """The copy says 3 of all; of 30, 4 and 17 that is a success. 17 is truly won at once.

    A twin that lies as well must not be asked instead.
    """
    subject = model_under_test(surrogate_lowp=Says(3), surrogate=Says(3))

    def moves(ids: Tensor, x: Tensor) -> Tensor:
        honest = searches.given[-1]["net"].model is subject.net
        return move({30: 0.375, 4: 0.2} if honest else {30: 0.25, 17: 0.875})(ids, x)

    searches.set("apgd", moves)
    rows = frame(subject, attack(part("apgd", protocol="first_success")))
    assert [given["net"].model for given in searches.given] == [subject.surrogate_lowp, subject.net]
    assert searches.tried == [("apgd", [30, 4, 17]), ("apgd", [30, 4])]
    assert rows["success"].tolist() == [True] * 5
    assert rows["pred_pert"].tolist() == [1, 0, 3, 3, 0]
    assert rows["distance"].tolist() == pytest.approx([0.25, 0.175, 0.25, 0, 0])


def test_only_what_the_copy_claimed_is_searched_again(searches) -> None:
    """It says 1 of all: a success for 30 and 17, and none for 4, whose class that is."""
    subject = model_under_test(surrogate_lowp=Says(1))
    searches.set("apgd", move({}))
    frame(subject, attack(part("apgd", protocol="first_success")))
    assert searches.tried == [("apgd", [30, 4, 17]), ("apgd", [30, 17])]
    # A friend's claims are of the examples that are right when perturbed.
    searches.given.clear()
    frame(subject, attack(part("apgd", protocol="first_success"), goal="hypocritical"))
    assert searches.tried == [("apgd", [8, 52])]
    searches.given.clear()
    toward = attack(part("apgd", protocol="first_success"), goal="targeted", target=0)
    frame(model_under_test(surrogate_lowp=Says(0)), toward)
    assert searches.tried == [("apgd", [4, 17, 8]), ("apgd", [4, 17, 8])]


def test_claims_are_not_asked_of_the_untouched_net_nor_of_fixed_searches(searches) -> None:
    searches.set("apgd", move({}))
    searches.set("pgd", move({}))
    net = Quarter()
    frame(
        model_under_test(net=net, surrogate_lowp=net),
        attack(part("apgd", protocol="first_success")),
    )
    surrogate = Quarter()
    frame(model_under_test(surrogate=surrogate), attack(part("pgd")))
    assert not surrogate.asked
    frame(model_under_test(surrogate=Says(3)), attack(part("pgd")))
    assert searches.tried == [("apgd", [30, 4, 17]), *[("pgd", IDS.tolist())] * 2]


def test_every_verdict_is_of_the_whole_block_at_once(searches) -> None:
    """So that an example's company is always the same, whoever else is still searched."""
    searches.set("apgd", move({30: 0.375}))
    net = Quarter()
    frame(model_under_test(net=net), attack(part("apgd", protocol="first_success")))
    assert net.asked == [X.tolist(), [0.375, *X.tolist()[1:]]]


def test_a_search_that_leaves_the_ball_is_no_result(searches) -> None:
    for inside in (0.375, 0.625):
        searches.set("pgd", move({30: 0.125 + 0.25 * (2 if inside > 0.5 else 1)}))
        if inside < 0.5:
            frame(model_under_test(), attack(part("pgd")))
            continue
        with pytest.raises(AssertionError, match="attack 'pgd' left the ball"):
            frame(model_under_test(), attack(part("pgd")))


def test_clean_logits_are_asked_once_a_block(searches) -> None:
    searches.set("pgd", move({}))
    net = Quarter()
    subject = model_under_test(net=net)
    for _ in range(2):
        frame(subject, attack(part("pgd")))
    assert len(net.asked) == 1 + 2  # once when clean, then a verdict each
    other = (IDS + 1, images(X.flip(0)), Y)
    rows = frame(subject, attack(part("pgd")), other)
    assert rows["pred_clean"].tolist() == CLASSES.flip(0).tolist()
    assert set(subject.clean) == {tuple(IDS.tolist()), tuple((IDS + 1).tolist())}


class Faulty(Quarter):
    """Without a slope for images in some quarters, and with one that is nan in others."""

    def __init__(self, flat: set[int], broken: set[int] = frozenset()) -> None:
        super().__init__()
        self.flat, self.broken = flat, broken

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        quarter = (x.flatten(1) * 4).long().clamp(0, 3)
        still, nan = (
            torch.tensor([k in quarters for k in range(4)])[quarter]
            for quarters in (self.flat, self.broken)
        )
        zero = (x - x.detach()).flatten(1)
        root = torch.where(nan, zero, torch.ones_like(zero)).sqrt()  # of infinite slope at 0
        return torch.where(still, logits.detach() + 0 * logits, logits) + 0 * root


def test_passes_are_added_up_over_parts() -> None:
    """PGD of 3 steps, then of 2 steps more."""
    first = part(steps=3, start="none", step_size=0.0)
    second = replace(first, config=replace(first.config, steps=2))
    rows = frame(model_under_test(), attack(first, second))
    assert rows["forwards"].tolist() == rows["backwards"].tolist() == [5] * 5
    assert rows["queries"].tolist() == [0] * 5
    restarts = replace(first.config, restarts=2)
    rows = frame(model_under_test(), attack(replace(first, config=restarts)))
    # Restarts side by side: 3 steps and a verdict each.
    assert rows["forwards"].tolist() == [8] * 5
    assert rows["backwards"].tolist() == [6] * 5
    assert rows["queries"].tolist() == [2] * 5


def test_gradients_have_vanished_only_where_all_were_zero() -> None:
    """30, 17 and 52 stand in a flat quarter; 4 walks into one with its first step."""
    net = Faulty({0, 2})
    subject = model_under_test(net=net, surrogate=net, surrogate_lowp=net)
    config = part(steps=2, start="none", step_size=0.2)
    status = frame(subject, attack(config))["status"]
    assert [s.startswith("zero-gradient") for s in status] == [True, False, True, False, True]
    values = searched(subject, BLOCK, attack(config), NOISE).x_pert.flatten()
    assert values[1] > 0.5  # it did walk there
    quiet = frame(subject, attack(part(steps=0)))["status"]  # no gradient was asked for
    assert set(quiet) == {"ok"}


def test_gradients_that_were_nan_are_told_from_those_that_were_zero() -> None:
    """8 stands where they are nan, 30 and 52 where they are zero; 4 walks to where they are nan."""
    net = Faulty({0}, {2, 3})
    subject = model_under_test(net=net, surrogate=net, surrogate_lowp=net)
    status = frame(subject, attack(part(steps=2, start="none", step_size=0.2)))["status"]
    expected = ["zero-gradient", "some nan-gradients", "nan-gradient", "nan-gradient"]
    assert status.tolist() == [*expected, "zero-gradient"]


@pytest.mark.parametrize("search", ["deepfool", "fab", "rays"])
def test_only_searches_for_the_nearest_success_find_none(search: str, searches) -> None:
    searches.set(search, move({30: 0.375}))
    searches.set("pgd", move({}))
    rows = frame(model_under_test(), attack(part(search, loss="margin", start="none")))
    missed = ["ok", "not-found", "not-found", "ok", "ok"]
    assert rows["status"].tolist() == missed
    both = attack(part(search, loss="margin", start="none"), part("pgd"))
    assert set(frame(model_under_test(), both)["status"]) == {"ok"}
    for other in ("pgd", "square", "apgd"):
        searches.set(other, move({}))
        assert set(frame(model_under_test(), attack(part(other, loss="margin")))["status"]) == {
            "ok"
        }
