"""When a case is over: a plan is told by hand what its tasks found."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
import torch

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.data import Dataset, Source
from fftune.errors import ModelError
from fftune.evaluation.batteries import Probe
from fftune.evaluation.escalation import carry_out, once, plan
from fftune.evaluation.job import Case, Task
from fftune.outcomes import Outcomes, rows

COUNT = 30
Y = torch.arange(COUNT) % 4
DATA = Dataset(
    source=Source(name="hand", classes=tuple("abcd"), mean=(0.5,), std=(0.5,)),
    split="test",
    ids=7 * torch.arange(COUNT) + 3,
    pixels=torch.zeros(COUNT, 1, 2, 2, dtype=torch.uint8),
    y=Y,
)


def case_of(battery: BatteryConfig, **settings) -> Case:
    return Case.of(DATA, battery, model_hash="m", threat=ThreatModel(eps=0.1), **settings)


def standard(name: str = "autoattack", tier: str = "standard") -> Case:
    return case_of(BatteryConfig(name=name, tier=tier, block_size=8))


@dataclass
class Told:
    """Does tasks as it is told, and notes them: by attack and tier, which positions."""

    beaten: Callable[[Probe, int], bool] = lambda *_: False
    flat: Callable[[Probe, int], bool] = lambda *_: False
    void: str = "zero-gradient"
    """The status of those that are flat."""
    defended: bool = False
    """Whether each example has a row behind a defence too, which never succeeds but in a canary."""
    asked: list[tuple[str, str, list[int]]] = field(default_factory=list)

    def __call__(self, tasks: Sequence[Task]) -> dict[Task, pa.Table]:
        for task in tasks:
            self.asked.append((task.probe.attack, task.probe.tier, list(task.rows)))
        return {task: self.table(task) for task in tasks}

    def table(self, task: Task) -> pa.Table:
        at, probe = list(task.rows), task.probe
        y = Y[at].tolist()
        own = self._rows(probe, at, y, "none", [self.beaten(probe, i) for i in at])
        if not self.defended:
            return own
        behind = [probe.attack == "canary"] * len(at)
        return pa.concat_tables([own, self._rows(probe, at, y, "random", behind)])

    def _rows(self, probe, at, y, defense, success) -> pa.Table:
        status = [self.void if self.flat(probe, i) else "ok" for i in at]
        return rows(
            len(at),
            {"dataset_hash": "d", "split": "test", "model_hash": "m", "norm": "linf", "eps": 0.1}
            | {"id": DATA.ids[at].tolist(), "attack": probe.attack, "goal": probe.goal}
            | {"target": -1 if probe.target is None else probe.target, "config_hash": "c"}
            | {"seed": 0, "restart": 0, "protocol": "fixed", "tier": probe.tier}
            | {"defense": defense, "defense_repeat": 0, "y": y, "pred_clean": y}
            | {"pred_pert": y, "success": success, "queries": 0, "forwards": 0}
            | {"backwards": 0, "distance": 0.0, "status": status},
        )

    def positions(self, attack: str, tier: str) -> list[int]:
        """In the order asked for."""
        found = [at for name, length, at in self.asked if (name, length) == (attack, tier)]
        return [i for block in found for i in block]


EVERY = list(range(COUNT))


def test_every_probe_goes_to_every_block_first() -> None:
    told = Told()
    found = carry_out(plan(case_of(BatteryConfig(name="risks", block_size=8))), told)
    blocks = [EVERY[k : k + 8] for k in range(0, COUNT, 8)]
    assert told.asked == [("pgd-20", "full", block) for block in (*blocks, *blocks)]
    assert len(found) == 2 * COUNT


def test_eight_survivors_meet_the_canary_and_that_is_all() -> None:
    """Those that the searches beat are none of them."""
    told = Told(beaten=lambda probe, i: probe.attack == "strong" and i % 2 == 0)
    found = carry_out(plan(standard()), told)
    few = told.positions("canary", "standard")
    assert len(few) == len(set(few)) == 8 and all(i % 2 for i in few)
    assert found.values("attack") == {"strong", "canary"} and found.values("tier") == {"standard"}
    assert len(found) == COUNT + 8
    again = Told(beaten=told.beaten)
    carry_out(plan(standard()), again)
    assert again.asked == told.asked


def test_which_survivors_are_tried_depends_on_their_ids_alone() -> None:
    """The eight of all survivors stay among the eight where others have fallen."""
    whole, fewer = Told(), Told()
    carry_out(plan(standard()), whole)
    first = set(whole.positions("canary", "standard"))
    fewer.beaten = lambda probe, i: probe.attack == "strong" and i not in first and i % 2 == 0
    carry_out(plan(standard()), fewer)
    assert set(fewer.positions("canary", "standard")) == first
    assert first != set(range(8))  # drawn, not the first ones


@pytest.mark.parametrize("left", [0, 1, 5])
def test_fewer_survivors_are_all_tried(left: int) -> None:
    told = Told(beaten=lambda probe, i: probe.attack == "strong" and i >= left)
    found = carry_out(plan(standard()), told)
    assert sorted(told.positions("canary", "standard")) == list(range(left))
    assert len(found) == COUNT + left


def test_what_the_canary_finds_sends_the_whole_set_to_full_length(caplog) -> None:
    """The first search's rows give way to the second's; the canary's stay."""
    caplog.set_level(logging.INFO)
    probing = Told()
    carry_out(plan(standard()), probing)
    one = probing.positions("canary", "standard")[3]
    told = Told(beaten=lambda probe, i: probe.attack == "canary" and i == one)
    caplog.clear()
    found = carry_out(plan(standard()), told)
    assert told.positions("autoattack", "full") == EVERY
    assert found.values("attack") == {"autoattack", "canary"}
    assert len(found.where(attack="autoattack")) == COUNT
    assert len(found.where(attack="canary")) == 8
    assert "FAB and Square found 1 of 8 survivors" in caplog.text
    assert {r.name for r in caplog.records} == {"fftune.evaluation.escalation"}
    assert "canary found 1, 0 examples without good gradients" in caplog.text


@pytest.mark.parametrize(
    "status",
    ["zero-gradient", "nan-gradient", "some nan-gradients", "zero-gradient, block of 4"],
)
def test_where_a_gradient_fails_the_whole_set_goes_to_full_length(status: str, caplog) -> None:
    """One example among thirty is enough, though the canary finds nothing."""
    caplog.set_level(logging.WARNING)
    told = Told(flat=lambda probe, i: probe.attack == "strong" and i == 17, void=status)
    found = carry_out(plan(standard()), told)
    assert told.positions("autoattack", "full") == EVERY
    assert found.values("attack") == {"autoattack", "canary"}
    assert "canary found 0, 1 examples without good gradients" in caplog.text


def test_a_net_without_survivors_and_gradients_goes_there_too() -> None:
    told = Told(beaten=lambda *_: True, flat=lambda probe, _: probe.attack == "strong")
    found = carry_out(plan(standard()), told)
    assert found.values("attack") == {"autoattack"}
    assert told.positions("autoattack", "full") == EVERY


@pytest.mark.parametrize("code", ["nan-gradient", "misleading-gradient"])
def test_a_gradient_known_to_mislead_is_not_followed_first(code: str, caplog) -> None:
    """The whole search at once, with neither a first look nor a canary."""
    caplog.set_level(logging.WARNING)
    told, said = Told(), f"{code}: of 4 images, 3"
    found = carry_out(plan(standard(), ["other: words", said, f"{code}: more"]), told)
    assert {(name, tier) for name, tier, _ in told.asked} == {("autoattack", "full")}
    assert told.positions("autoattack", "full") == EVERY and len(found) == COUNT
    assert [r.message for r in caplog.records] == [f"tier full: {said}"]
    told = Told()
    carry_out(plan(standard("hypocritical"), [said]), told)
    first = [(name, tier) for name, tier, _ in told.asked]
    assert first[::4] == [
        *((name, "full") for name in ("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"))
    ]
    told = Told()
    carry_out(plan(standard(tier="screen"), [said]), told)
    assert {(name, tier) for name, tier, _ in told.asked} == {("strong", "screen")}


def test_other_remarks_leave_the_plan_as_it_is() -> None:
    told, plain = Told(), Told()
    carry_out(plan(standard(), ["by-chance: nan-gradient", "nan: misleading-gradient"]), told)
    carry_out(plan(standard()), plain)
    assert told.asked == plain.asked


def test_the_canary_meets_those_that_its_own_noise_draws() -> None:
    """The eight smallest uniform numbers of the survivors, keyed by their ids."""
    told, case = Told(beaten=lambda probe, i: probe.attack == "strong" and i < 9), standard()
    carry_out(plan(case), told)
    draw = case.noise.fold("canary").uniform(DATA.ids, (1,)).flatten().tolist()
    expected = sorted(range(9, COUNT), key=lambda i: draw[i])[:8]
    assert sorted(told.positions("canary", "standard")) == sorted(expected)


@pytest.mark.parametrize("tier", ["screen", "full"])
def test_other_tiers_have_no_canary(tier: str) -> None:
    told = Told(flat=lambda _, i: i == 17)
    found = carry_out(plan(standard(tier=tier)), told)
    (attack,) = found.values("attack")
    assert attack == ("autoattack" if tier == "full" else "strong") and len(told.asked) == 4


def test_of_several_probes_the_ensemble_alone_is_searched_again() -> None:
    """A false friend's: the parts are a friend's, and the other four attacks keep their rows."""
    told = Told(beaten=lambda probe, _: probe.attack == "canary")
    probes = standard("hypocritical").probes
    seen: list[Probe] = []

    def work(tasks: Sequence[Task]) -> dict[Task, pa.Table]:
        seen.extend(task.probe for task in tasks)
        return told(tasks)

    found = carry_out(plan(standard("hypocritical")), work)
    assert {probe.goal for probe in seen} == {"hypocritical"}
    strong, full = probes[-1], seen[-1]
    assert (full.attack, full.tier, len(full.parts)) == ("strong", "full", 6)
    assert found.where(attack="strong").values("tier") == {"full"}
    for name in ("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"):
        assert len(found.where(attack=name)) == COUNT
    first = {probe.attack for probe in seen[:4]}
    assert first == {"fgsm"} and strong in seen
    canaries = [probe for probe in seen if probe.attack == "canary"]
    assert [p.config.search for p in canaries[0].parts] == ["fab", "square"]
    assert canaries[0].tier == "standard"


def test_what_happens_behind_defences_decides_nothing() -> None:
    """Survivors and wins are the bare net's."""
    told = Told(beaten=lambda probe, i: probe.attack == "strong" and i >= 5, defended=True)
    defense = DefenseConfig(names=("random",), repeats=1, draws=1)
    battery = BatteryConfig(name="autoattack", tier="standard", block_size=8)
    found = carry_out(plan(case_of(battery, defense=defense)), told)
    assert sorted(told.positions("canary", "standard")) == list(range(5))
    assert "autoattack" not in found.values("attack")


# What cannot be scored.


def test_an_attack_whose_gradients_are_all_zero_is_refused() -> None:
    risks = case_of(BatteryConfig(name="risks", block_size=8))
    with pytest.raises(ModelError, match="gradients are zero everywhere: pgd-20 cannot be scored"):
        carry_out(plan(risks), Told(flat=lambda *_: True))
    carry_out(plan(risks), Told(flat=lambda probe, i: i != 29 or probe.goal != "adversarial"))
    assert len(carry_out(once(risks), Told(flat=lambda *_: True))) == 2 * COUNT


def test_gradients_that_are_not_finite_are_nothing_to_follow_either() -> None:
    risks = case_of(BatteryConfig(name="risks", block_size=8))
    told = Told(flat=lambda *_: True, void="nan-gradient")
    with pytest.raises(ModelError, match="are nan or infinite everywhere: pgd-20 cannot be"):
        carry_out(plan(risks), told)
    # Where each example has the one or the other, there is nothing to follow either.
    mixed = Told()
    mixed.table = lambda task: pa.concat_tables(
        [
            Told(flat=lambda *_: True, void=void).table(Task(task.probe, (i,)))
            for i in task.rows
            for void in [("zero-gradient", "nan-gradient")[i % 2]]
        ]
    )
    with pytest.raises(ModelError, match="are nan or infinite everywhere"):
        carry_out(plan(risks), mixed)
    # Some of an example's gradients can still be followed.
    told = Told(flat=lambda *_: True, void="some nan-gradients")
    assert len(carry_out(plan(risks), told)) == 2 * COUNT


def test_one_flat_attack_among_others_is_refused() -> None:
    friends = standard("hypocritical", "full")
    with pytest.raises(ModelError, match=": cw-100 cannot be scored"):
        carry_out(plan(friends), Told(flat=lambda probe, _: probe.attack == "cw-100"))


def test_ensembles_at_full_length_and_canaries_ask_no_gradients_at_the_end() -> None:
    for name, attack in (("autoattack", "autoattack"), ("hypocritical", "strong")):
        told = Told(flat=lambda probe, _, attack=attack: probe.attack in (attack, "canary"))
        found = carry_out(plan(standard(name, "full")), told)
        assert len(found.where(attack=attack)) == COUNT
    told = Told(flat=lambda probe, _: probe.attack == "canary")
    assert len(carry_out(plan(standard()), told).where(attack="canary")) == 8
    with pytest.raises(ModelError, match=": strong cannot be scored"):
        carry_out(plan(standard(tier="screen")), Told(flat=lambda *_: True))


def test_a_plan_once_asks_no_second_time() -> None:
    told = Told(flat=lambda *_: True, beaten=lambda *_: True)
    found = carry_out(once(standard()), told)
    assert found.values("attack") == {"strong"} and len(told.asked) == 4


def test_no_rows_are_no_reason_to_refuse() -> None:
    risks = case_of(BatteryConfig(name="risks"))

    def nothing(tasks: Sequence[Task]) -> dict[Task, pa.Table]:
        return {task: Told().table(Task(task.probe, ())) for task in tasks}

    assert len(carry_out(plan(risks), nothing)) == 0


def test_a_plan_without_work_ends_at_once() -> None:
    def nothing():
        return Outcomes.of([])
        yield

    assert len(carry_out(nothing(), Told())) == 0
