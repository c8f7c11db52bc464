"""Attacks, defenses and batteries of a user's own, by `FILE.py:NAME`."""

from dataclasses import replace

import pytest
import torch
from subjects import job_of

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, from_json, to_json
from fftune.defenses import DefenseSpec, defense_spec, defenses_of
from fftune.errors import ConfigError
from fftune.evaluation.adaptive import adaptive_attacks
from fftune.evaluation.batteries import attacks_of, tier_of
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.cost_model import passes
from fftune.evaluation.evaluate import evaluate
from fftune.report.defended_rows import undefended
from fftune.report.defense_rates import defense_rates
from fftune.testing import check_battery, check_defense
from tests.brief import BRIEF
from tests.report.detail_texts import defense_table, table

OWN = """
import torch
from fftune.attacks.search_state import begin
from fftune.config import AttackConfig
from fftune.defenses import DefenseSpec
from fftune.evaluation.batteries import Attack, BatterySpec, single
from fftune.evaluation.tiers import AttackStage

LEVELS = 4


def quantise(model, x, *, noise, ids):
    return (x * LEVELS).round() / LEVELS


def smooth(model, x, *, noise, ids):
    \"\"\"Average the net's input gradient away: three queries, no gradient.\"\"\"
    with torch.no_grad():
        for _ in range(3):
            model(x)
    return (x + 0.1 * noise.uniform(ids, tuple(x.shape[1:])).to(x)).clamp(0, 1)


SMOOTH = DefenseSpec(purify=smooth, passes=3)


def walk(model, x, y, *, config, goal, loss, noise, ids):
    rows = begin(model, x, y, config=config, goal=goal, loss=loss, noise=noise, ids=ids)
    return rows.start(config, "walk")


def battery(threat, config, classes):
    search = AttackConfig(threat=threat, search=f"{__file__}:walk", steps=config.steps)
    return [single("walk", "adversarial", "ce", search),
            single("pgd", "hypocritical", "ce", AttackConfig(threat=threat, steps=2))]


def nothing(threat, config, classes):
    return ["pgd"]


def two(threat, config, classes):
    pgd = AttackConfig(threat=threat, steps=2)
    stages = (AttackStage(config=pgd, loss="ce"), AttackStage(config=pgd, loss="margin"))
    return [Attack(name="two", goal="adversarial", stages=stages, tier=config.tier)]


TWO = BatterySpec(attacks=two, tiers=("screen", "full"), ensembles=("two",))
SEVEN = 7
"""
THREAT = ThreatModel(eps=0.05)


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(OWN)
    return lambda name: f"{file}:{name}"


@pytest.mark.slow
def test_a_defense_that_is_no_hedge_is_scored_like_one(own, toy, blobs) -> None:
    few = blobs.select(torch.arange(30), "test")
    names = (own("quantise"), own("SMOOTH"), "random")
    defense = DefenseConfig(**BRIEF, names=names, repeats=2, draws=2)
    battery = BatteryConfig(steps=2)
    found = evaluate(toy, few, battery, threat=THREAT, defense=defense)
    assert found.values("defense") == {"none", "quantise", "SMOOTH", "random"}
    for name in ("quantise", "SMOOTH", "random"):
        for knowledge in ("aware", "eot", "known"):
            assert len(found.where(attack=f"{knowledge}-{name}", defense="none"))
    clean = found.where(attack="clean", defense="quantise", defense_repeat=0).to_pandas()
    with torch.no_grad():
        pred = toy((few.pixels / 255 * 4).round() / 4).argmax(1)
    assert clean.sort_values("id")["pred_pert"].tolist() == pred.tolist()
    smooth = found.where(attack="clean", defense="SMOOTH").to_pandas()
    counts = {name: set(smooth[name]) for name in ("forwards", "backwards", "queries")}
    assert counts == {"forwards": {4}, "backwards": {0}, "queries": {4}}
    # Each attack of the adaptive attacker is taken through the defense, and counted so.
    aware = found.where(attack="aware-SMOOTH", goal="adversarial", defense="none").to_pandas()
    assert set(aware["backwards"]) == {2} and aware["forwards"].min() >= 2 * 4
    text = defense_table(found)
    assert "quantise - none" in text and "SMOOTH - random" in text and "aware-quantise" in text
    assert "defense/quantise/worst_case/accuracy" in defense_rates(found)
    assert "quantise" in found.questions[0]["defenses"][0]["name"]


def test_the_shipped_tests_pass_on_defenses_and_batteries(own) -> None:
    for name in ("random", "hedge", "hedge_one_class", own("quantise"), own("SMOOTH")):
        check_defense(name)
    batteries = ("risks", "nine", "autoattack", "ensemble", "hypocritical", "targets", "fast_at")
    for name in (*batteries, own("battery"), own("TWO")):
        check_battery(name)
        check_battery(name, norm="l2")


def overwriting(model, x, *, noise, ids):
    return x.mul_(0.5)


def unkeyed(model, x, *, noise, ids):
    return x + torch.arange(len(x)).view(-1, 1, 1, 1).to(x)


def squeezed(model, x, *, noise, ids):
    return x.flatten(1)


@pytest.mark.parametrize(
    ("purify", "said"),
    [
        (overwriting, "an argument was changed"),
        (unkeyed, "depends on the order"),
        (squeezed, "purify returned"),
    ],
)
def test_a_defense_that_breaks_a_promise_is_told(purify, said) -> None:
    with pytest.raises(AssertionError, match=said):
        check_defense(purify)


def test_a_battery_that_breaks_a_promise_is_told(own, tmp_path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        OWN
        + "\n\ndef twice(threat, config, classes):\n    return battery(threat, config, 3)[:1] * 2"
        "\n\ndef other(threat, config, classes):\n    return nine(ThreatModel(eps=0.3))"
        "\n\nfrom fftune.config import ThreatModel\nfrom fftune.evaluation.batteries import nine\n"
    )
    with pytest.raises(AssertionError, match="two attacks share the key"):
        check_battery(f"{file}:twice")
    with pytest.raises(AssertionError, match="another threat model"):
        check_battery(f"{file}:other")


def test_a_battery_of_a_users_own_is_run(own, toy, blobs) -> None:
    few = blobs.select(torch.arange(30), "test")
    battery = BatteryConfig(name=own("battery"), steps=3)
    found = evaluate(toy, few, battery, threat=THREAT)
    assert found.values("attack") == {"walk", "pgd"} and len(found) == 60
    assert found.questions[0]["battery"] == "battery"
    assert "walk" in table(undefended(found))


def test_tiers_of_a_users_battery(own) -> None:
    two = BatteryConfig(name=own("TWO"))
    assert tier_of(two) == "screen" and attacks_of(two, THREAT)[0].tier == "screen"
    assert tier_of(replace(two, tier="full")) == "full"
    with pytest.raises(ConfigError, match="tier must be one of screen, full for battery"):
        replace(two, tier="escalating")
    with pytest.raises(ConfigError, match="tier must be left out for battery"):
        BatteryConfig(name=own("battery"), tier="full")


@pytest.mark.parametrize("name", ["risks", "nine", "autoattack", "targets", "fast_at"])
def test_a_tier_where_it_has_no_meaning_is_refused(name: str) -> None:
    assert tier_of(BatteryConfig(name=name)) is None
    with pytest.raises(ConfigError, match=f"tier must be left out for battery '{name}', got"):
        BatteryConfig(name=name, tier="full")


def test_what_is_no_battery_or_defense_is_refused_in_one_line(own) -> None:
    with pytest.raises(ConfigError, match="must return one or more Attacks"):
        attacks_of(BatteryConfig(name=own("nothing")), THREAT)
    with pytest.raises(ConfigError, match="must be a BatterySpec or a function, got int"):
        attacks_of(BatteryConfig(name=own("SEVEN")), THREAT)
    with pytest.raises(ConfigError, match="must be a DefenseSpec or a function, got int"):
        defense_spec(own("SEVEN"))
    with pytest.raises(ConfigError, match="one of purify, wrap and make"):
        DefenseSpec()
    with pytest.raises(ConfigError, match="unknown battery 'nin'; did you mean 'nine'"):
        BatteryConfig(name="nin")
    with pytest.raises(ConfigError, match="unknown defense 'hegde'; did you mean 'hedge'"):
        DefenseConfig(**BRIEF, names=("hegde",))
    with pytest.raises(ConfigError, match="names must be each named once"):
        DefenseConfig(**BRIEF, names=("hedge", own("hedge")))


def test_a_file_that_was_edited_is_another_defense_and_other_blocks(own, toy, blobs) -> None:
    def made() -> tuple[object, object]:
        names = (own("quantise"),)
        defense = DefenseConfig(**BRIEF, names=names, draws=1)
        battery = BatteryConfig(name=own("battery"))
        job = job_of(toy, blobs, battery, threat=THREAT, defense=defense)
        path = BlockCache(file.parent, job, "who", "cpu")._path(job.tasks(job.attacks[0])[0])
        return defenses_of(defense, THREAT)["quantise"], path

    from pathlib import Path

    file = Path(own("x").removesuffix(":x"))
    first, path = made()
    assert made() == (first, path)
    file.write_text(OWN.replace("LEVELS = 4", "LEVELS = 2"))
    second, moved = made()
    assert second != first and moved != path
    x = torch.full((1, 1, 1, 1), 0.3)
    said = [one.purify(toy, x, noise=None, ids=None).item() for one in (first, second)]
    assert said[1] == 0.5


def test_passes_of_a_defense_are_part_of_what_an_adaptive_attack_costs(own, toy, blobs) -> None:
    defense = DefenseConfig(**BRIEF, names=(own("SMOOTH"), own("quantise")), draws=2)
    job = job_of(toy, blobs, BatteryConfig(steps=2), threat=THREAT, defense=defense)
    cost = {a.name: passes(a) for a in adaptive_attacks(job.attacks[:1], job.defense_set, THREAT)}
    assert cost["aware-SMOOTH"] == 1 + 4 * 2 * 3
    assert cost["eot-SMOOTH"] == 1 + 4 * 2 * 2 * 3  # two draws
    assert cost["eot-quantise"] == 1 + 10 * 2 * 3  # five times as many, as they cost nothing


# Settings that version 0.1.0 stored.


@pytest.mark.parametrize(
    ("name", "tier", "now", "then"),
    [
        ("risks", "standard", "risks", None),
        ("nine", "full", "nine", None),
        ("autoattack", "standard", "ensemble", None),
        ("autoattack", "full", "autoattack", None),
        ("hypocritical", "standard", "hypocritical", None),
        ("hypocritical", "full", "hypocritical", "full"),
        ("hypocritical", "screen", "hypocritical", "screen"),
    ],
)
def test_tiers_of_older_settings_have_todays_names(name, tier, now, then) -> None:
    text = to_json(BatteryConfig()).replace('"risks"', f'"{name}"')
    text = text.replace('"tier": null', f'"tier": "{tier}"')
    assert from_json(BatteryConfig, text) == BatteryConfig(name=now, tier=then)
