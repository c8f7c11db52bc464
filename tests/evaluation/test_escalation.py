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
from fftune.evaluation import escalation
from fftune.evaluation.batteries import Attack
from fftune.evaluation.escalation import Evaluated, Plan, Tables, plan, single_pass
from fftune.evaluation.job import BlockTask, EvalJob
from fftune.lint.questions import WEAK
from fftune.outcomes import Outcomes, rows
from tests.brief import BRIEF

COUNT = 30
Y = torch.arange(COUNT) % 4
DATA = Dataset(
    source=Source(name="hand", classes=tuple("abcd"), mean=(0.5,), std=(0.5,)),
    split="test",
    ids=7 * torch.arange(COUNT) + 3,
    pixels=torch.zeros(COUNT, 1, 2, 2, dtype=torch.uint8),
    y=Y,
)


def job_of(battery: BatteryConfig, **settings) -> EvalJob:
    return EvalJob.of(DATA, battery, model_hash="m", threat=ThreatModel(eps=0.1), **settings)


def escalating(name: str = "ensemble", tier: str = "escalating") -> EvalJob:
    return job_of(BatteryConfig(name=name, tier=tier, block_size=8))


def ended(plan: Plan, work: Callable[[Sequence[BlockTask]], Tables]) -> Evaluated:
    """A plan to its end, by somebody who does what is asked at once."""
    try:
        tasks = next(plan)
        while True:
            tasks = plan.send(work(tasks))
    except StopIteration as end:
        return end.value


def run_plan(plan: Plan, work: Callable[[Sequence[BlockTask]], Tables]) -> Outcomes:
    """The rows of a plan that was brought to its end."""
    return ended(plan, work).outcomes


@dataclass
class Told:
    """Does tasks as it is told, and notes them: by attack and tier, which positions."""

    beaten: Callable[[Attack, int], bool] = lambda *_: False
    flat: Callable[[Attack, int], bool] = lambda *_: False
    void: str = "zero-gradient"
    """The status of those that are flat."""
    nowhere: Callable[[int], bool] = lambda _: False
    """Survivors that an unbounded PGD leaves as they are."""
    blinded: Callable[[int], bool] = lambda _: False
    """Fooled ones that PGD-50 does not fool."""
    defended: bool = False
    """Whether each example has a row behind a defense too, which never succeeds but in a canary."""
    asked: list[tuple[str, str, list[int]]] = field(default_factory=list)

    def __call__(self, tasks: Sequence[BlockTask]) -> dict[BlockTask, pa.Table]:
        for task in tasks:
            self.asked.append((task.attack.name, task.attack.tier, list(task.rows)))
        return {task: self.table(task) for task in tasks}

    def table(self, task: BlockTask) -> pa.Table:
        at, attack = list(task.rows), task.attack
        y = Y[at].tolist()
        own = self._rows(attack, at, y, "none", [self.wins(attack, i) for i in at])
        if not self.defended:
            return own
        behind = [attack.name == "canary"] * len(at)
        return pa.concat_tables([own, self._rows(attack, at, y, "random", behind)])

    def wins(self, attack: Attack, i: int) -> bool:
        if attack.name == "unbounded":
            return not self.nowhere(i)
        return not self.blinded(i) if attack.name == "pgd-50" else self.beaten(attack, i)

    def _rows(self, attack, at, y, defense, success) -> pa.Table:
        status = [self.void if self.flat(attack, i) else "ok" for i in at]
        return rows(
            len(at),
            {"dataset_hash": "d", "split": "test", "model_hash": "m", "norm": "linf", "eps": 0.1}
            | {"id": DATA.ids[at].tolist(), "attack": attack.name, "goal": attack.goal}
            | {"target": -1 if attack.target is None else attack.target, "config_hash": "c"}
            | {"seed": 0, "restart": 0, "protocol": "last_iterate", "tier": attack.tier}
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
    found = run_plan(plan(job_of(BatteryConfig(name="risks", block_size=8))), told)
    blocks = [EVERY[k : k + 8] for k in range(0, COUNT, 8)]
    assert told.asked == [("pgd-20", "full", block) for block in (*blocks, *blocks)]
    assert len(found) == 2 * COUNT


@pytest.fixture
def eight(monkeypatch) -> None:
    """Eight survivors are tried, as of a larger data set."""
    monkeypatch.setattr(escalation, "size", lambda _images, survivors: min(8, survivors))


def test_survivors_meet_an_unbounded_pgd_then_the_canary_and_that_is_all(eight) -> None:
    """Those that the searches beat are none of them."""
    told = Told(beaten=lambda attack, i: attack.name == "ensemble" and i % 2 == 0)
    found = run_plan(plan(escalating()), told)
    few = told.positions("canary", "escalating")
    assert len(few) == len(set(few)) == 8 and all(i % 2 for i in few)
    assert told.positions("unbounded", "escalating") == few
    assert found.values("attack") == {"ensemble", "canary"} and found.values("tier") == {
        "escalating"
    }
    assert len(found) == COUNT + 8
    again = Told(beaten=told.beaten)
    run_plan(plan(escalating()), again)
    assert again.asked == told.asked


def test_which_survivors_are_tried_depends_on_their_ids_alone(eight) -> None:
    """The eight of all survivors stay among the eight where others have fallen."""
    whole, fewer = Told(), Told()
    run_plan(plan(escalating()), whole)
    first = set(whole.positions("canary", "escalating"))
    fewer.beaten = lambda attack, i: attack.name == "ensemble" and i not in first and i % 2 == 0
    run_plan(plan(escalating()), fewer)
    assert set(fewer.positions("canary", "escalating")) == first
    assert first != set(range(8))  # drawn, not the first ones


@pytest.mark.parametrize("left", [0, 1, 5, COUNT])
def test_of_few_images_all_survivors_are_tried(left: int) -> None:
    told = Told(beaten=lambda attack, i: attack.name == "ensemble" and i >= left)
    found = run_plan(plan(escalating()), told)
    assert sorted(told.positions("canary", "escalating")) == list(range(left))
    assert len(found) == COUNT + left


def test_what_the_canary_finds_sends_the_whole_set_to_full_length(eight, caplog) -> None:
    """The first search's rows give way to the second's; the canary's stay."""
    caplog.set_level(logging.INFO)
    probing = Told()
    run_plan(plan(escalating()), probing)
    one = probing.positions("canary", "escalating")[3]
    told = Told(beaten=lambda attack, i: attack.name == "canary" and i == one)
    caplog.clear()
    found = run_plan(plan(escalating()), told)
    assert told.positions("autoattack", "full") == EVERY
    assert found.values("attack") == {"autoattack", "canary"}
    assert len(found.where(attack="autoattack")) == COUNT
    assert len(found.where(attack="canary")) == 8
    assert "FAB and Square found 1 of 8 survivors" in caplog.text
    assert {r.name for r in caplog.records} == {"fftune.evaluation.escalation"}
    assert "tier full: FAB and Square found 1 of 8 survivors" in caplog.text


@pytest.mark.parametrize(
    "status",
    ["zero-gradient", "nan-gradient", "some nan-gradients", "zero-gradient, block of 4"],
)
def test_where_a_gradient_fails_the_whole_set_goes_to_full_length(status: str, caplog) -> None:
    """One example among thirty is enough, though the canary finds nothing."""
    caplog.set_level(logging.WARNING)
    told = Told(flat=lambda attack, i: attack.name == "ensemble" and i == 17, void=status)
    found = run_plan(plan(escalating()), told)
    assert told.positions("autoattack", "full") == EVERY
    assert found.values("attack") == {"autoattack"}
    assert "tier full: 1 of 30 examples without good gradients" in caplog.text


def test_a_net_without_survivors_and_gradients_goes_there_too() -> None:
    told = Told(beaten=lambda *_: True, flat=lambda attack, _: attack.name == "ensemble")
    found = run_plan(plan(escalating()), told)
    assert found.values("attack") == {"autoattack"}
    assert told.positions("autoattack", "full") == EVERY


@pytest.mark.parametrize("tier", ["screen", "escalating"])
@pytest.mark.parametrize("code", WEAK)
def test_a_net_that_the_lint_doubts_is_searched_at_length_at_once(code, tier, caplog) -> None:
    """Neither a first look nor a canary, for both goals."""
    caplog.set_level(logging.WARNING)
    told, said = Told(), f"{code}: of 4 images, 3"
    lines = ["other: words", said, f"{code}: more"]
    end = ended(plan(escalating(tier=tier), lines), told)
    assert {(name, length) for name, length, _ in told.asked} == {("autoattack", "full")}
    assert told.positions("autoattack", "full") == EVERY and len(end.outcomes) == COUNT
    assert [r.message for r in caplog.records] == [f"tier full: remark {code}"]
    was = f"ensemble, tier {tier}, was run on all images at tier full: remark {code}"
    assert end.remarks == (f"escalated: {was}",)
    told = Told()
    run_plan(plan(escalating("hypocritical", tier), [said]), told)
    first = [(name, length) for name, length, _ in told.asked]
    assert first[::4] == [
        *((name, "full") for name in ("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"))
    ]


@pytest.mark.parametrize("tier", ["screen", "escalating"])
@pytest.mark.parametrize("name", ["ensemble", "hypocritical"])
def test_where_an_unbounded_pgd_leaves_one_survivor_all_are_searched_at_length(
    name: str, tier: str
) -> None:
    strong = {"ensemble": "autoattack", "hypocritical": "strong"}[name]
    told = Told(nowhere=lambda i: i == 11)
    end = ended(plan(escalating(name, tier)), told)
    assert told.positions(strong, "full") == EVERY and not told.positions("canary", tier)
    assert not len(end.outcomes.where(attack="unbounded"))
    (line,) = end.remarks
    assert line.endswith("an unbounded PGD leaves 1 of 30 survivors as they are")


def test_other_remarks_leave_the_plan_as_it_is() -> None:
    told, plain = Told(), Told()
    lines = ["channel-order: nan-gradient", "nan: misleading-gradient", "input-range: x"]
    run_plan(plan(escalating(), lines), told)
    run_plan(plan(escalating()), plain)
    assert told.asked == plain.asked


def test_the_canary_meets_those_that_its_own_noise_draws(eight) -> None:
    """The eight smallest uniform numbers of the survivors, keyed by their ids."""
    told, job = Told(beaten=lambda attack, i: attack.name == "ensemble" and i < 9), escalating()
    run_plan(plan(job), told)
    draw = job.noise.fold("canary").uniform(DATA.ids, (1,)).flatten().tolist()
    expected = sorted(range(9, COUNT), key=lambda i: draw[i])[:8]
    assert sorted(told.positions("canary", "escalating")) == sorted(expected)


def test_other_tiers_have_no_canary() -> None:
    told = Told()
    found = run_plan(plan(escalating(tier="screen")), told)
    assert found.values("attack") == {"ensemble"}
    assert {name for name, _, _ in told.asked} == {"ensemble", "unbounded"}
    told = Told(flat=lambda _, i: i == 17, nowhere=lambda _: True)
    found = run_plan(plan(escalating(tier="full")), told)
    assert found.values("attack") == {"autoattack"} and len(told.asked) == 4


def test_of_several_probes_the_ensemble_alone_is_searched_again() -> None:
    """A false friend's: the parts are a friend's, and the other four attacks keep their rows."""
    told = Told(beaten=lambda attack, _: attack.name == "canary")
    attacks_of = escalating("hypocritical").attacks
    seen: list[Attack] = []

    def work(tasks: Sequence[BlockTask]) -> dict[BlockTask, pa.Table]:
        seen.extend(task.attack for task in tasks)
        return told(tasks)

    found = run_plan(plan(escalating("hypocritical")), work)
    assert {attack.goal for attack in seen} == {"hypocritical"}
    strong, full = attacks_of[-1], seen[-1]
    assert (full.name, full.tier, len(full.stages)) == ("strong", "full", 6)
    assert found.where(attack="strong").values("tier") == {"full"}
    for name in ("fgsm", "pgd-20", "pgd-100", "cw-100", "strong"):
        assert len(found.where(attack=name)) == COUNT
    first = {attack.name for attack in seen[:4]}
    assert first == {"fgsm"} and strong in seen
    canaries = [attack for attack in seen if attack.name == "canary"]
    assert [p.config.search for p in canaries[0].stages] == ["fab", "square"]
    assert canaries[0].tier == "escalating"


def test_what_happens_behind_defenses_decides_nothing() -> None:
    """Survivors and wins are the bare net's."""
    told = Told(beaten=lambda attack, i: attack.name == "ensemble" and i >= 5, defended=True)
    defense = DefenseConfig(**BRIEF, names=("random",), repeats=1, draws=1)
    battery = BatteryConfig(name="ensemble", tier="escalating", block_size=8)
    found = run_plan(plan(job_of(battery, defense=defense)), told)
    assert sorted(told.positions("canary", "escalating")) == list(range(5))
    assert "autoattack" not in found.values("attack")


# What PGD does not find.


def test_pgd_50_meets_the_fooled_of_a_fixed_few_and_is_silent_where_it_fools_them() -> None:
    told = Told(beaten=lambda attack, i: attack.name == "ensemble" and i % 3 > 0)
    end = ended(plan(escalating(tier="screen")), told)
    assert told.positions("pgd-50", "screen") == [i for i in EVERY if i % 3]
    assert end.outcomes.values("attack") == {"ensemble"} and not end.remarks


def test_a_net_that_withstands_pgd_50_alone_is_named(caplog) -> None:
    """Of 30 images PGD-50 leaves 25 and the ensemble 10."""
    caplog.set_level(logging.WARNING)
    told = Told(beaten=lambda _, i: i % 3 > 0, blinded=lambda i: i % 6 > 1 or i in (1, 7, 13))
    for tier, name in (("screen", "ensemble"), ("full", "autoattack")):
        end = ended(plan(escalating(tier=tier)), told)
        (line,) = end.remarks
        assert line.startswith(
            f"catastrophic-overfitting: of 30 images 93.3% withstand pgd-50 and 33.3% {name}: "
            "60.0% fewer (95 % CI 37.4% to 74.7%)"
        )
        assert line in caplog.text


def test_a_difference_within_chance_is_not_named() -> None:
    told = Told(beaten=lambda _, i: i % 3 > 0, blinded=lambda i: i in (1, 4, 7, 10, 13, 16))
    assert not ended(plan(escalating(tier="screen")), told).remarks


def test_where_a_battery_has_a_pgd_there_is_no_second() -> None:
    told = Told(beaten=lambda *_: True)
    run_plan(plan(job_of(BatteryConfig(name="nine", block_size=COUNT))), told)
    assert "pgd-50" not in {name for name, _, _ in told.asked}


# What cannot be scored.


def test_an_attack_whose_gradients_are_all_zero_is_refused() -> None:
    risks = job_of(BatteryConfig(name="risks", block_size=8))
    with pytest.raises(ModelError, match="gradients are zero everywhere: pgd-20 cannot be scored"):
        run_plan(plan(risks), Told(flat=lambda *_: True))
    run_plan(plan(risks), Told(flat=lambda attack, i: i != 29 or attack.goal != "adversarial"))
    assert len(run_plan(single_pass(risks), Told(flat=lambda *_: True))) == 2 * COUNT


def test_gradients_that_are_not_finite_are_nothing_to_follow_either() -> None:
    risks = job_of(BatteryConfig(name="risks", block_size=8))
    told = Told(flat=lambda *_: True, void="nan-gradient")
    with pytest.raises(ModelError, match="are nan or infinite everywhere: pgd-20 cannot be"):
        run_plan(plan(risks), told)
    # Where each example has the one or the other, there is nothing to follow either.
    mixed = Told()
    mixed.table = lambda task: pa.concat_tables(
        [
            Told(flat=lambda *_: True, void=void).table(BlockTask(task.attack, (i,)))
            for i in task.rows
            for void in [("zero-gradient", "nan-gradient")[i % 2]]
        ]
    )
    with pytest.raises(ModelError, match="are nan or infinite everywhere"):
        run_plan(plan(risks), mixed)
    # Some of an example's gradients can still be followed.
    told = Told(flat=lambda *_: True, void="some nan-gradients")
    assert len(run_plan(plan(risks), told)) == 2 * COUNT


def test_one_flat_attack_among_others_is_refused() -> None:
    friends = escalating("hypocritical", "full")
    with pytest.raises(ModelError, match=": cw-100 cannot be scored"):
        run_plan(plan(friends), Told(flat=lambda attack, _: attack.name == "cw-100"))


def test_ensembles_at_full_length_and_canaries_ask_no_gradients_at_the_end() -> None:
    for name, ensemble in (("ensemble", "autoattack"), ("hypocritical", "strong")):
        told = Told(flat=lambda a, _, ensemble=ensemble: a.name in (ensemble, "canary"))
        found = run_plan(plan(escalating(name, "full")), told)
        assert len(found.where(attack=ensemble)) == COUNT
    told = Told(flat=lambda attack, _: attack.name == "canary")
    assert len(run_plan(plan(escalating()), told).where(attack="canary")) == COUNT
    told = Told(flat=lambda attack, _: attack.name == "ensemble")
    assert run_plan(plan(escalating(tier="screen")), told).values("attack") == {"autoattack"}


def test_a_plan_once_asks_no_second_time() -> None:
    told = Told(flat=lambda *_: True, beaten=lambda *_: True)
    found = run_plan(single_pass(escalating()), told)
    assert found.values("attack") == {"ensemble"} and len(told.asked) == 4


def test_no_rows_are_no_reason_to_refuse() -> None:
    risks = job_of(BatteryConfig(name="risks"))

    def nothing(tasks: Sequence[BlockTask]) -> dict[BlockTask, pa.Table]:
        return {task: Told().table(BlockTask(task.attack, ())) for task in tasks}

    assert len(run_plan(plan(risks), nothing)) == 0


def test_a_plan_without_work_ends_at_once() -> None:
    def nothing():
        return Evaluated(outcomes=Outcomes.of([]))
        yield

    assert len(run_plan(nothing(), Told())) == 0
