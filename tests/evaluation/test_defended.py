import json
from contextlib import nullcontext
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pytest
import torch

from fftune.attacks import search_state
from fftune.comparison import Paired
from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.data import Dataset
from fftune.defenses import hedge
from fftune.errors import ConfigError, DataError, ModelError
from fftune.evaluation.adaptive import AWARE, adaptive_attacks
from fftune.evaluation.batteries import attacks_of
from fftune.evaluation.defended import CLEAN, RANDOM_START, DefenseSet
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.scheduler import EvalResult
from fftune.keyed_noise import Noise
from fftune.outcomes import Outcomes
from fftune.report import defense_legend
from fftune.report import evaluations as records
from fftune.report.defended_rows import defense_frame, flip_counts, undefended
from fftune.report.defense_rates import defense_rates
from fftune.report.evaluation_page import net_page
from fftune.report.evaluations import EvaluationRecord
from fftune.report.terminal import plain
from fftune.risk import Rate, RiskCounts
from tests.brief import BRIEF
from tests.report.detail_texts import defense_table, table
from tests.report.drawn_rows import by_hand

THREAT = ThreatModel(eps=0.05)
BATTERY = BatteryConfig(steps=3, block_size=40, precision="fp32")
DEFENSE = DefenseConfig(**BRIEF, names=("random", "hedge"), steps=2, draws=1)


@pytest.fixture(scope="module")
def outcomes(toy, blobs) -> Outcomes:
    return evaluate(toy, blobs, BATTERY, threat=THREAT, defense=DEFENSE)


def test_rows_of_every_draw_beside_the_undefended_ones(outcomes, toy, blobs) -> None:
    plain = evaluate(toy, blobs, BATTERY, threat=THREAT)
    assert undefended(outcomes).table.equals(plain.table)
    for attack, defense, repeats in (("pgd-3", "hedge", 3), ("clean", "random", 6)):
        part = outcomes.where(attack=attack, goal="adversarial", defense=defense)
        assert len(part) == repeats * len(blobs)
    assert outcomes.where(defense="none").values("defense_repeat") == {0}


@pytest.mark.slow
def test_none_beside_a_defense_adds_nothing(toy, blobs) -> None:
    """The bare net is always shown: its rows are not doubled, nor has it attackers of its own."""
    few = blobs.select(torch.arange(20), "test")
    hedge_alone, both, none = (
        evaluate(toy, few, BATTERY, threat=THREAT, defense=replace(DEFENSE, names=names, steps=1))
        for names in (("hedge",), ("none", "hedge"), ("none",))
    )
    assert both.table.equals(hedge_alone.table)
    assert none.table.equals(evaluate(toy, few, BATTERY, threat=THREAT).table)
    assert "n = 20)" in table(undefended(both)) and "n = 80" not in table(undefended(both))


@pytest.mark.slow
def test_the_command_takes_none_for_no_defense(toy, blobs, root) -> None:
    few = blobs.select(torch.arange(20), "test")
    for names, shown in ((("none",), ""), (("none", "random"), "-random")):
        defense = DefenseConfig(**BRIEF, names=names, steps=1, draws=1)
        found = evaluate(toy, few, BATTERY, threat=THREAT, defense=defense)
        record = EvaluationRecord(root=root, threat=THREAT, defense=defense, data="blobs")
        net = record.keep(EvalResult(outcomes=found))
        assert net is not None and net.is_defended == bool(shown)
        assert ("one who knows it?" in plain(net_page(net))) == bool(shown)
        weights = found.table["model_hash"][0].as_py()[:8]
        (path,) = (root / "rows").glob("*.parquet")
        asked = f"-{weights}-blobs-test-n20-linf-0.05-risks{shown}-"
        assert asked in path.name and len(path.stem.rpartition("-")[2]) == 8
        path.unlink()


def test_the_verdict_is_the_nets_on_the_hedged_tensor(outcomes, toy, blobs) -> None:
    """The control's inputs are known: the images themselves."""
    ids, x, _ = next(blobs.batches(100))
    config = DEFENSE.hedge(THREAT)
    assert (config.eps_d, config.steps, config.step_length) == (0.05, 2, 0.025)
    noise = Noise(0).fold("defense", "blobs", "test", 1)
    with torch.no_grad():
        pred = toy(hedge(toy, x, config=config, noise=noise, ids=ids)).argmax(1)
    verdicts = outcomes.where(attack="clean", defense="hedge", defense_repeat=1).to_pandas()
    assert verdicts.sort_values("id")["pred_pert"].tolist() == pred.tolist()
    assert verdicts["success"].tolist() == (verdicts["pred_pert"] != verdicts["y"]).tolist()
    assert set(verdicts["forwards"]) == {3} and set(verdicts["backwards"]) == {2}


@pytest.mark.slow
def test_without_a_radius_a_defense_changes_nothing(toy, blobs) -> None:
    still = DefenseConfig(**BRIEF, names=("hedge",), eps_d=0, steps=2, draws=1)
    found = evaluate(toy, blobs, BATTERY, threat=THREAT, defense=still)
    frame = defense_frame(found)
    assert len(frame) and (frame["before"] == frame["pred_pert"]).all()
    # Alg. 6 then is PGD itself, wherever it goes.
    key = ["goal", "defense", "defense_repeat", "id"]
    one, two = (
        frame[frame["attack"] == name].set_index(key)["pred_pert"].sort_index()
        for name in ("aware-hedge", "pgd-3")
    )
    assert len(one) > len(blobs) and one.equals(two[one.index])


def test_a_defenses_pixels_are_not_looked_at_again(toy, blobs, monkeypatch) -> None:
    """Each look at a value would wait for the device."""

    def looked(*_: object) -> None:
        raise AssertionError("pixels or labels were looked at")

    monkeypatch.setattr(search_state, "_check_pixels", looked)
    monkeypatch.setattr(search_state, "_check_labels", looked)
    defense_set = DefenseSet.of(DEFENSE, ThreatModel(), source="blobs", split="test", attacks=1)
    assert defense_set is not None
    ids, x, _ = next(blobs.batches(8))
    assert list(defense_set.predictions(toy, x, ids, 1))


def test_who_knows_goes_as_many_steps_as_the_longest_pgd() -> None:
    """Of `fast_at`, whose first is PGD-10; and of each goal by itself."""
    threat = ThreatModel(eps=4 / 255)
    battery = attacks_of(BatteryConfig(name="fast_at"), threat)
    defense_set = DefenseSet.of(DEFENSE, threat, source="blobs", split="test", attacks=len(battery))
    config = battery[2].config
    assert (config.steps, config.restarts, config.step_length) == (100, 10, 1 / 255)
    knowing = {p.name: p.config for p in adaptive_attacks(battery, defense_set, threat)}
    assert (knowing[CLEAN].steps, knowing[RANDOM_START].steps) == (0, 0)
    assert knowing["aware-hedge"] == knowing["eot-random"] == knowing["label-free"] == config
    assert knowing["pgd-hedged"] == replace(config, search="pgd_hedged")
    mixed = [*battery, *attacks_of(BatteryConfig(name="risks", steps=7), threat)]
    every = [p for p in adaptive_attacks(mixed, defense_set, threat)[2:] if p.choice is None]
    steps = {(p.goal, p.config.steps) for p in every}
    assert steps == {("adversarial", 100), ("label_free", 100), ("hypocritical", 7)}


@pytest.mark.slow
def test_attacks_that_are_not_wanted_are_left_out_and_controls_stay(outcomes, toy, blobs) -> None:
    """Rows of the others are what they are among all."""
    for wanted in (("pgd-3",), ("aware-hedge", "label-free")):
        found = evaluate(
            *(toy, blobs, BATTERY),
            threat=THREAT,
            defense=DEFENSE,
            wanted=wanted.__contains__,
        )
        kept = {*wanted, CLEAN, RANDOM_START}
        assert found.values("attack") == kept
        for attack in kept:
            same, rows = (one.where(attack=attack).to_pandas() for one in (outcomes, found))
            assert rows.astype(str).equals(same.astype(str))


def test_a_random_start_is_a_point_of_the_ball_and_no_attack(outcomes, blobs) -> None:
    """It moves every pixel, takes no step, and stands in no worst case of the bare net."""
    bare = outcomes.where(attack=RANDOM_START, defense="none").to_pandas()
    assert set(bare["id"]) == set(blobs.ids.tolist())
    assert bare["distance"].between(0.01, 0.05 + 1e-6).all()
    assert set(bare["backwards"]) == set(bare["forwards"]) == {0}
    behind = outcomes.where(attack=RANDOM_START, defense="hedge").to_pandas()
    assert sorted(set(behind["defense_repeat"])) == [0, 1, 2]
    assert RANDOM_START not in undefended(outcomes).values("attack")
    frame = defense_frame(outcomes)
    assert set(frame.loc[frame["attack"].isin([CLEAN, RANDOM_START]), "goal"]) == {"control"}
    found = defense_rates(outcomes)
    rate = found["defense/hedge/any/accuracy/random-start"]
    assert rate == Rate(
        int((behind["pred_pert"] == behind["y"]).groupby(behind["id"]).all().sum()), 100
    )


@pytest.mark.slow
def test_friends_who_know_go_to_the_mistakes_of_every_net(outcomes, toy, blobs) -> None:
    """Of the bare one and of each behind any draw that tells its mistakes; to those of the bare
    one where the battery's own friends go no further. Adversaries go everywhere."""
    clean = outcomes.where(attack="clean").to_pandas()
    own = (clean["defense"] == "none") | clean["defense_repeat"].isin([3, 4, 5])
    mistaken = set(clean.loc[own & (clean["pred_pert"] != clean["y"]), "id"])
    bare = set(clean.loc[clean["pred_clean"] != clean["y"], "id"])
    assert bare < mistaken
    for attack in ("aware-hedge", "eot-random", "known-hedge", "pgd-hedged"):
        found = outcomes.where(attack=attack, goal="hypocritical")
        assert found.values("id") == mistaken
        everywhere = outcomes.where(attack=attack, goal="adversarial")
        assert everywhere.values("id") == set(blobs.ids.tolist())
    targets = BatteryConfig(name="targets", steps=1)
    found = evaluate(toy, blobs, targets, threat=THREAT, defense=DEFENSE)
    assert found.where(attack="aware-hedge").values("id") == bare


def test_a_known_draw_is_attacked_best(outcomes) -> None:
    """PGD behind the very draw that it is scored under; counted against another attacker's."""
    frame = defense_frame(outcomes)
    one = frame[(frame["defense"] == "random") & (frame["defense_repeat"] == 0)]
    right = one[one["goal"] == "adversarial"].groupby("attack")["right"].sum()
    assert right["known-random"] <= right["aware-random"]
    assert right["known-random"] < right["label-free" if "label-free" in right else "pgd-hedged"]


ROWS = [  # id, y, pred_clean, bare verdict, verdicts of two draws
    (0, 1, 1, 2, 1, 1),  # FtoT, FtoT
    (1, 1, 1, 2, 3, 2),  # FtoF, same
    (2, 1, 1, 1, 0, 1),  # TtoF, same
    (3, 1, 2, 1, 1, 2),  # same, TtoF
]


def test_flips_by_hand() -> None:
    frame = pd.DataFrame(
        [
            {"id": i, "y": y, "before": bare, "pred_pert": pred, "defense_repeat": repeat}
            for i, y, _, bare, *draws in ROWS
            for repeat, pred in enumerate(draws)
        ]
    )
    frame["right"] = frame["pred_pert"] == frame["y"]
    assert flip_counts(frame) == {"FtoT": 1, "TtoF": 1, "FtoF": 0.5, "same": 1.5}
    assert sum(flip_counts(frame).values()) == 4


BY_HAND = by_hand(
    clean={
        "none": [[0, 0, 0, 1]],
        "random": [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]],
        "hedge": [[0, 0, 2, 1], [0, 0, 0, 0], [0, 0, 2, 1], [0, 0, 2, 0]],
    },
    attacks={
        ("pgd-20", "adversarial"): {
            "none": [[0, 1, 1, 1]],
            "random": [[0, 1, 1, 1], [0, 0, 1, 1]],
            "hedge": [[0, 0, 1, 2], [1, 0, 0, 1]],
        },
        ("cw", "adversarial"): {
            "none": [[1, 0, 1, 1]],
            "random": [[0, 0, 1, 0], [1, 0, 1, 1]],
            "hedge": [[0, 1, 0, 1], [0, 0, 0, 1]],
        },
        ("eot-hedge", "adversarial"): {
            "none": [[0, 0, 0, 1]],
            "random": [[0, 0, 0, 0], [0, 0, 0, 0]],
            "hedge": [[0, 1, 1, 1], [0, 0, 1, 1]],
        },
        ("known-hedge", "adversarial"): {
            "none": [[0, 0, 0, 1]],
            "random": [[1, 0, 0, 0], [0, 0, 0, 0]],
            "hedge": [[1, 1, 0, 0], [0, 1, 1, 1]],
        },
    },
)


def cell(rate: Rate) -> str:
    low, high = rate.interval
    return f"{100 * rate.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def lines_of(said: str) -> set[str]:
    """With single spaces, so that columns may be of any width."""
    return {" ".join(line.split()) for line in said.splitlines()}


def test_adversaries_by_hand() -> None:
    """Of two draws: 50 and 100 % are 75 with a variance of 1,250; 25 and 50 % are 37.5, 312.5."""
    said = lines_of(defense_table(BY_HAND))
    assert {
        "natural right in 4 draws of 4",
        "none 75.00 75.00",
        "random 87.50 (312.50) 75.00",
        "hedge 75.00 (1250.00) 50.00",
        "crafted on the bare net pgd-20 cw worst case",
        "none 25.00 25.00 0.00",
        "random 37.50 (312.50) 50.00 (1250.00) 25.00 (0.00)",
        "hedge 50.00 (0.00) 62.50 (312.50) 37.50 (312.50)",
        "eot-hedge 75.00 100.00 (0.00) 37.50 (312.50)",
        "known-hedge 75.00 87.50 (312.50) 50.00*",
        "best of all 0.00 25.00 (0.00) 25.00 (0.00)",
        "best, noise known* 0.00 0.00 0.00",
        "images random FtoT random TtoF random FtoF hedge FtoT hedge TtoF hedge FtoF",
        "pgd-20 0.5 0.0 0.0 1.5 0.5 0.5",
        "cw 1.0 0.0 0.0 2.0 0.5 0.0",
    } <= said
    assert {
        f"random - none, natural: {Paired(n=4, both=3, gained=1, lost=0)}",
        f"hedge - none, natural: {Paired(n=4, both=2, gained=0, lost=1)}",
        f"hedge - random, natural: {Paired(n=4, both=2, gained=0, lost=2)}",
        f"hedge - random, worst case of 2 attacks: {Paired(n=4, both=1, gained=0, lost=0)}",
        f"hedge - none, worst case of 2 attacks: {Paired(n=4, both=0, gained=1, lost=0)}",
        f"known*, or best of all {cell(Rate(0, 4))}",
        f"bare net, best of all {cell(Rate(0, 4))}",
    } <= said


def test_a_table_says_what_its_own_attackers_and_columns_are() -> None:
    said = lines_of(defense_table(BY_HAND))
    kinds = {line.partition(" ")[0] for line in said}
    assert {"eot", "known"} <= kinds and not {"aware", "pgd-hedged", "label-free"} & kinds
    (best,) = (line for line in said if line.startswith("best of all: "))
    assert "those of the battery" in best
    assert any(line.startswith("FtoT, TtoF: ") for line in said)
    assert set(defense_legend.ATTACKERS) == set(AWARE)


def test_best_of_all_has_the_strongest_adaptive_attack() -> None:
    """It alone fools the two examples, each in one draw."""
    still = {"none": [[0, 0]], "hedge": [[0, 0], [0, 0]]}
    strongest = {"none": [[0, 0]], "hedge": [[1, 0], [0, 2]]}
    attacks = {("pgd-20", "adversarial"): still, ("adaptive-hedge", "adversarial"): strongest}
    clean = {"none": [[0, 0]], "hedge": [[0, 0]] * 4}
    said = lines_of(defense_table(by_hand(clean, attacks)))
    assert "adaptive-hedge 100.00 50.00 (0.00)" in said
    assert "best of all 100.00 50.00 (0.00)" in said
    assert "hedge 100.00 (0.00) 100.00 (0.00)" in said  # of what knows no defense


def test_a_worst_case_is_of_examples_that_all_attacks_have_rows_for() -> None:
    """Example 0, which fell to cw alone, has lost that block; 1 to 3 are left."""
    frame = BY_HAND.to_pandas()
    lost = (frame["attack"] == "cw") & (frame["id"] == 0)
    said = lines_of(defense_table(Outcomes(BY_HAND.table.filter(pa.array(~lost)))))
    worst = Paired(n=3, both=0, gained=0, lost=0)
    assert f"hedge - none, worst case of 2 attacks: {worst}" in said
    assert "accuracy in % of all, n = 3" in said
    assert any(line.startswith(f"clean (n = 4) {cell(Rate(2, 4))}") for line in said)


def test_friends_by_hand() -> None:
    """The bare net is wrong about 2 to 5, behind the hedge's own draws about 0, 1, 3, 4 and 5."""
    clean = {"none": [[0, 0, 1, 1, 1, 1]], "hedge": [[0] * 6, [0] * 6, *[[2, 2, 0, 1, 1, 1]] * 2]}
    still = [1, 1, 1, 1, 1, 1]
    said = lines_of(
        defense_table(
            by_hand(
                clean,
                {
                    ("pgd-20", "hypocritical"): {
                        "none": [[0, 0, 0, 0, 0, 1]],
                        "hedge": [[0, 0, 0, 1, 2, 1], still],
                    },
                    ("aware-hedge", "hypocritical"): {
                        "none": [still],
                        "hedge": [[1, 1, 1, 0, 1, 1], still],
                    },
                    ("known-hedge", "hypocritical"): {
                        "none": [[1, 1, 1, 1, 1, 0]],
                        "hedge": [[1, 1, 1, 1, 0, 1], still],
                    },
                },
            )
        )
    )
    assert {
        "concealed of 4 none hedge leaves hedge unmasks hedge as itself",
        "pgd-20 3 1 2 of 3 1",
        "aware-hedge 0 1 0 of 0 0",
        f"hedge unmasks pgd-20: {Rate(2, 3)}",
        "hypocritical risk in % of D-, n = 5 (expectation: 5.0)",
        f"known*, or best of all {cell(Rate(4, 5))}",
        f"bare net, best of all (n = 4) {cell(Rate(3, 4))}",
    } <= said
    # The second draw undoes all of it: no majority, and half of the draws.
    one, none = cell(Rate(3, 5)), cell(Rate(0, 5))
    assert any(line.startswith(f"best of all {one} {none} {one} 30.0 [") for line in said)


def test_friends_of_the_bare_nets_mistakes_alone_tell_no_risk_of_another(toy, blobs) -> None:
    targets = BatteryConfig(name="targets", steps=1)
    defense = DefenseConfig(**BRIEF, names=("random",), repeats=1, draws=1)
    said = lines_of(defense_table(evaluate(toy, blobs, targets, threat=THREAT, defense=defense)))
    assert "hypocritical risk: unknown, as friends went to the bare net's mistakes alone" in said


@pytest.mark.slow
def test_the_table_says_all_of_it(outcomes, blobs) -> None:
    said = defense_table(outcomes)
    frame = defense_frame(outcomes)
    worst = frame[(frame["attack"] == "pgd-3") & (frame["goal"] == "adversarial")]
    each = 100 * worst[worst["defense"] == "hedge"].groupby("defense_repeat")["right"].mean()
    assert f"{each.mean():.2f} ({each.var():.2f})" in said
    for words in ("natural", "worst case", "best of all", "best, noise known", "unmasks", "FtoT"):
        assert words in said
    for words in ("majority of 3", "any of 3", "expectation", "random-start", "behind random"):
        assert words in said
    assert "hedge" not in table(undefended(outcomes))


def test_bad_defenses_are_one_line(toy, blobs) -> None:
    class Rounded(torch.nn.Module):
        def forward(self, x):
            return toy((x * 8).round() / 8)

    with pytest.raises(ModelError, match="input gradients"):
        evaluate(Rounded(), blobs, BATTERY, threat=THREAT, defense=DEFENSE)
    for setting in ({"eps_d": -1.0}, {"steps": -1}, {"repeats": 0}):
        with pytest.raises(ConfigError, match="must be"):
            DefenseConfig(**BRIEF, names=("hedge",), **setting)


def test_an_undefended_battery_has_no_defended_rows(toy, blobs: Dataset) -> None:
    plain = evaluate(toy, blobs, BATTERY, threat=THREAT)
    assert plain.values("defense") == {"none"} and plain.values("attack") == {"pgd-3"}


def test_fast_at_stops_at_the_first_restart_that_succeeds() -> None:
    """P2's table 3: PGD-10, 50 and 100, ten restarts, steps of 1/255."""
    found = attacks_of(BatteryConfig(name="fast_at"), ThreatModel(eps=4 / 255))
    assert [(p.name, p.config.steps) for p in found] == [
        ("pgd-10", 10),
        ("pgd-50", 50),
        ("pgd-100", 100),
    ]
    assert {(p.config.restarts, p.config.step_length, p.protocol) for p in found} == {
        (10, 1 / 255, "last_iterate")
    }


def test_risks_are_of_one_defense_at_a_time(outcomes) -> None:
    with pytest.raises(DataError, match="choose one defense"):
        RiskCounts.of(outcomes, attack="pgd-3", split="test")
    one = outcomes.where(defense="hedge", defense_repeat=2)
    assert RiskCounts.of(one, attack="pgd-3", split="test").total == 100


class Kept:
    """A run of MLflow that keeps what is logged."""

    def __init__(self, *_: object, **__: object) -> None:
        self.values: dict[str, float] = {}
        RUNS.append(self)

    def metrics(self, values: dict[str, float]) -> None:
        assert not values.keys() & self.values.keys()
        self.values |= values

    def text(self, *_: object) -> None: ...
    def file(self, *_: object) -> None: ...
    def end(self) -> None: ...


RUNS: list[Kept] = []


@pytest.mark.slow
def test_summary_and_metrics_tell_every_rule_attack_and_search_behind_a_defense(
    outcomes, tmp_path, monkeypatch, caplog
) -> None:
    stand_ins = {"TrackedRun": Kept, "open_to_write": id, "in_place_of": nullcontext}
    for name, stand_in in (stand_ins | {"has_run": lambda _: False}).items():
        monkeypatch.setattr(records, name, lambda *a, _f=stand_in, **k: _f(*a[:1], **k))
    monkeypatch.setattr(EvaluationRecord, "_text", lambda *_: "")
    kept = ("pgd-3", CLEAN, "adaptive-hedge")
    few = Outcomes.of(outcomes.where(attack=attack).table for attack in kept)
    result = EvalResult(outcomes=few.answering(*outcomes.questions))
    record = EvaluationRecord(root=tmp_path, threat=THREAT, defense=DEFENSE, data="blobs")
    net = record.keep(result)
    assert net is not None
    record.tell(net)
    (run,), (path,) = RUNS, (tmp_path / "rows").glob("*.json")
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
    told = json.loads(path.read_text(encoding="utf-8"))
    shown = ("worst_case/accuracy", "accuracy/adaptive-hedge adversarial")
    for name in ("adversarial_risk", "hypocritical_risk"):
        shown += (f"worst_case/{name}",)
    for rule in ("", "majority/", "any/", "expectation/"):
        for name in shown:
            name = f"defense/hedge/{rule}{name}"
            rate = {**told["rates"], **told["expectations"]}[name]
            assert rate["low"] < rate["value"] < rate["high"] or rate["value"] in (0, 1)
            assert run.values[name] == rate["value"]
    assert run.values["worst_case/n"] == run.values["defense/hedge/worst_case/n"] == 100
    searches = told["defended_searches"]
    assert set(searches) == {"random", "hedge"} and "pgd-3" in str(told["searches"])
    (strongest,) = (
        one
        for one in searches["hedge"]
        if (one["attack"], one["goal"]) == ("adaptive-hedge", "adversarial")
    )
    at = "defense/hedge/share/adaptive-hedge adversarial"
    assert run.values[at] == strongest["share"] == strongest["found"] / strongest["found_by_all"]
    # All that was found is what the worst case of the first draw is a rate of.
    worst = told["rates"]["defense/hedge/worst_case/adversarial_risk"]
    assert strongest["found_by_all"] == worst["count"] > 0


def test_metrics_under_each_defense_by_hand() -> None:
    """As in `test_friends_by_hand`, of the first draw; adversaries beside them."""
    clean = {"none": [[0, 0, 1, 1, 1, 1]], "hedge": [[2, 2, 0, 1, 1, 1]] * 4}
    still, attacks = [1, 1, 1, 1, 1, 1], {}
    for attack, hyp, adv in (
        ("pgd-20", [0, 0, 0, 1, 2, 1], [0, 0, 0, 0, 1, 1]),
        ("aware-hedge", [1, 1, 1, 0, 1, 1], [0, 1, 1, 0, 1, 1]),
        ("known-hedge", [1, 1, 1, 1, 0, 1], still),
    ):
        attacks[attack, "hypocritical"] = {"none": [still], "hedge": [hyp, still]}
        attacks[attack, "adversarial"] = {"none": [still], "hedge": [adv, still]}
    found = defense_rates(by_hand(clean, attacks))
    assert not any("none" in name.split("/") for name in found)
    # The hedged net is right about 2 alone; known draws are no part of the worst case.
    assert found["defense/hedge/clean_accuracy"] == Rate(1, 6)
    assert found["defense/hedge/accuracy/pgd-20 adversarial"] == Rate(4, 6)
    assert found["defense/hedge/accuracy/known-hedge adversarial"] == Rate(0, 6)
    assert found["defense/hedge/worst_case/accuracy"] == Rate(0, 6)
    assert found["defense/hedge/worst_case/adversarial_risk"] == Rate(1, 1)
    assert found["defense/hedge/worst_case/hypocritical_risk"] == Rate(3, 5)
