import pandas as pd
import pytest
import torch

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.data import Dataset
from fftune.defenses import hedge
from fftune.errors import ConfigError, DataError, ModelError
from fftune.evaluate import judge, probes
from fftune.evaluate.defense_table import defense_frame, defense_table, flip_counts, undefended
from fftune.evaluate.queue import Result
from fftune.evaluate.record import Record
from fftune.evaluate.table import table
from fftune.noise import Noise
from fftune.outcomes import Outcomes
from fftune.risk import RiskCounts

THREAT = ThreatModel(eps=0.05)
BATTERY = BatteryConfig(steps=3, block_size=40, precision="fp32")
DEFENSE = DefenseConfig(names=("random", "hedge"), steps=2, draws=1)


@pytest.fixture(scope="module")
def outcomes(toy, blobs) -> Outcomes:
    return judge(toy, blobs, BATTERY, threat=THREAT, defense=DEFENSE)


def test_rows_of_every_draw_beside_the_undefended_ones(outcomes, toy, blobs) -> None:
    plain = judge(toy, blobs, BATTERY, threat=THREAT)
    assert undefended(outcomes).table.equals(plain.table)
    for attack, defense, repeats in (("pgd-3", "hedge", 3), ("clean", "random", 3)):
        part = outcomes.where(attack=attack, goal="adversarial", defense=defense)
        assert len(part) == repeats * len(blobs)
    assert outcomes.where(defense="none").values("defense_repeat") == {0}


def test_none_beside_a_defence_adds_nothing(toy, blobs) -> None:
    """The bare net is always shown: its rows are not doubled, nor has it attackers of its own."""
    few = blobs.select(torch.arange(20), "test")
    hedge_alone, both, none = (
        judge(toy, few, BATTERY, threat=THREAT, defense=DefenseConfig(names=names, steps=1))
        for names in (("hedge",), ("none", "hedge"), ("none",))
    )
    assert both.table.equals(hedge_alone.table)
    assert none.table.equals(judge(toy, few, BATTERY, threat=THREAT).table)
    assert "n = 20)" in table(undefended(both)) and "n = 80" not in table(undefended(both))


def test_the_command_takes_none_for_no_defence(toy, blobs, root) -> None:
    few = blobs.select(torch.arange(20), "test")
    for names, shown in ((("none",), ""), (("none", "random"), "-random")):
        defense = DefenseConfig(names=names, steps=1, draws=1)
        found = judge(toy, few, BATTERY, threat=THREAT, defense=defense)
        record = Record(root=root, battery=BATTERY, threat=THREAT, defense=defense, data="blobs")
        said = record.keep("toy", Result(outcomes=found))
        assert ("under defences" in said) == bool(shown)
        weights = found.table["model_hash"][0].as_py()[:8]
        assert (root / "rows" / f"toy-{weights}-risks{shown}.parquet").exists()


def test_the_verdict_is_the_nets_on_the_hedged_tensor(outcomes, toy, blobs) -> None:
    """The control's inputs are known: the images themselves."""
    ids, x, _ = next(blobs.batches(100))
    config = DEFENSE.hedges(THREAT)["hedge"]
    assert (config.eps_d, config.steps, config.step_length) == (0.05, 2, 0.025)
    noise = Noise(0).fold("defense", "blobs", "test", 1)
    with torch.no_grad():
        pred = toy(hedge(toy, x, config=config, noise=noise, ids=ids)).argmax(1)
    rows = outcomes.where(attack="clean", defense="hedge", defense_repeat=1).to_pandas()
    assert rows.sort_values("id")["pred_pert"].tolist() == pred.tolist()
    assert rows["success"].tolist() == (rows["pred_pert"] != rows["y"]).tolist()
    assert set(rows["forwards"]) == {3} and set(rows["backwards"]) == {2}


def test_without_a_radius_a_defence_changes_nothing(toy, blobs) -> None:
    still = DefenseConfig(names=("hedge",), eps_d=0, steps=2, draws=1)
    found = judge(toy, blobs, BATTERY, threat=THREAT, defense=still)
    frame = defense_frame(found)
    assert len(frame) and (frame["before"] == frame["pred_pert"]).all()
    # Alg. 6 then is PGD itself.
    key = ["goal", "defense", "defense_repeat", "id"]
    one, two = (
        frame[frame["attack"] == name].set_index(key)["pred_pert"].sort_index()
        for name in ("aware-hedge", "pgd-3")
    )
    assert one.equals(two)


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
    rows = pd.DataFrame(
        [
            {"id": i, "y": y, "before": bare, "pred_pert": pred, "defense_repeat": repeat}
            for i, y, _, bare, *draws in ROWS
            for repeat, pred in enumerate(draws)
        ]
    )
    rows["right"] = rows["pred_pert"] == rows["y"]
    assert flip_counts(rows) == {"FtoT": 1, "TtoF": 1, "FtoF": 0.5, "same": 1.5}
    assert sum(flip_counts(rows).values()) == 4


def test_the_table_says_all_of_it(outcomes, blobs) -> None:
    said = defense_table(outcomes)
    frame = defense_frame(outcomes)
    worst = frame[(frame["attack"] == "pgd-3") & (frame["goal"] == "adversarial")]
    each = 100 * worst[worst["defense"] == "hedge"].groupby("defense_repeat")["right"].mean()
    assert f"{each.mean():.2f} ({each.var():.2f})" in said
    for words in ("natural", "worst case", "best of all", "best, noise known", "unmasks", "FtoT"):
        assert words in said
    assert "hedge" not in table(undefended(outcomes))


def test_bad_defences_are_one_line(toy, blobs) -> None:
    class Rounded(torch.nn.Module):
        def forward(self, x):
            return toy((x * 8).round() / 8)

    with pytest.raises(ModelError, match="input gradients"):
        judge(Rounded(), blobs, BATTERY, threat=THREAT, defense=DEFENSE)
    for setting in ({"eps_d": -1.0}, {"steps": -1}, {"repeats": 0}):
        with pytest.raises(ConfigError, match="must be"):
            DefenseConfig(names=("hedge",), **setting)


def test_an_undefended_battery_has_no_defended_rows(toy, blobs: Dataset) -> None:
    plain = judge(toy, blobs, BATTERY, threat=THREAT)
    assert plain.values("defense") == {"none"} and plain.values("attack") == {"pgd-3"}


def test_fast_at_stops_at_the_first_restart_that_succeeds() -> None:
    """P2's table 3: PGD-10, 50 and 100, ten restarts, steps of 1/255."""
    found = probes(BatteryConfig(name="fast_at"), ThreatModel(eps=4 / 255))
    assert [(p.attack, p.config.steps) for p in found] == [
        ("pgd-10", 10),
        ("pgd-50", 50),
        ("pgd-100", 100),
    ]
    assert {(p.config.restarts, p.config.step_length, p.protocol) for p in found} == {
        (10, 1 / 255, "fixed")
    }


def test_risks_are_of_one_defence_at_a_time(outcomes) -> None:
    with pytest.raises(DataError, match="choose one defense"):
        RiskCounts.of(outcomes, attack="pgd-3", split="test")
    one = outcomes.where(defense="hedge", defense_repeat=2)
    assert RiskCounts.of(one, attack="pgd-3", split="test").total == 100
