"""Hedge sweeps in one process: the second kind of study."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fftune.cli.sweep import main
from fftune.config import (
    AttackConfig,
    BatteryConfig,
    DataSpec,
    DefenseConfig,
    Dimension,
    HedgeSweep,
    HedgeTrial,
    ModelSpec,
    ShowcaseConfig,
    ThreatModel,
    study_of,
    to_json,
)
from fftune.errors import ConfigError, DataError, FftuneError, ModelError, StudyError
from fftune.evaluation.evaluate import evaluate
from fftune.hedge_study.evaluation import pinned, splits_of
from fftune.hedge_study.showcase_schema import Showcase
from fftune.hedge_study.trial import check_study, chosen
from fftune.models import load_model
from fftune.outcomes import Outcomes
from fftune.recipes import Basis, training
from fftune.report.publish import publish
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.samplers.spec import check_strategy, strategy_of
from fftune.sweeping.search_space import corners
from fftune.sweeping.sweep import sweep
from fftune.training.train import train
from tests.brief import BRIEF

NETS = Path(__file__).with_name("digit_nets.py")
THREAT = ThreatModel(eps=0.15)
DIGITS = DataSpec(name="digits", validation_size=0)


def study(**base: object) -> HedgeSweep:
    trial = HedgeTrial(
        net=ModelSpec(factory=f"{NETS}:means"),
        data=DIGITS,
        attack=AttackConfig(threat=THREAT, steps=2, step_size=THREAT.eps / 4),  # as `risks`
        examples=60,
        aware=8,
    )
    return HedgeSweep(name="quick", trials=4, base=replace(trial, **base))


@pytest.fixture(scope="module")
def done(tmp_path_factory, empty_mlflow) -> tuple[Path, HedgeSweep, Front]:
    root = tmp_path_factory.mktemp("hedges")
    shutil.copy(empty_mlflow, root)
    config = replace(study(), strategy="grid", space=(Dimension(path="steps", choices=(0, 2)),))
    config = replace(config, base=pinned(replace(config.base, eps_d=0.1)))
    return root, config, sweep(config, root=root, backend="inline")


def test_what_is_known_comes_first_and_equal_ones_once() -> None:
    config = replace(study(), trials=16)
    pairs = [(s["eps_d"], s["steps"]) for s in corners(config)]
    assert pairs[:3] == [(0, 0), (0.15, 0), (0.15, 20)]
    # Of the cube's eight corners: no radius and no steps leave three that differ.
    assert sorted(pairs[3:]) == [(0.3, 0), (0.3, 20), (0.3, 20)]


def test_every_risk_is_searched_and_settings_survive_their_json() -> None:
    config = study()
    assert config.risks == ("natural_risk", "adversarial_risk_all", "hypocritical_risk")
    assert strategy_of(config) == "gp"
    assert study_of(to_json(config)) == config
    with pytest.raises(ConfigError, match="space must be one range of floats"):
        check_strategy(replace(config, strategy="gap"))
    with pytest.raises(ConfigError, match=r"space must be without .*data"):
        replace(config, space=(Dimension(path="data.name", choices=("digits", "mnist")),))


def test_the_counts_are_those_of_an_evaluation(done) -> None:
    _, config, front = done
    test = splits_of(DIGITS, 60)["test"]
    net, base = load_model(config.base.net), config.base
    brief = {"steps": 2, "repeats": 1, **BRIEF}
    settings = DefenseConfig(names=("random", "hedge"), eps_d=0.1, **brief)
    rows = evaluate(net, test, BatteryConfig(steps=2), threat=THREAT, defense=settings).to_pandas()
    rows = rows[rows["defense_repeat"] == 0].sort_values("id")
    for point, defense in zip(front.results, ("random", "hedge"), strict=True):
        one = rows[rows["defense"] == defense]
        clean = one[one["attack"] == "clean"]
        adv, hyp = (
            one[(one["attack"] == "pgd-2") & (one["goal"] == goal)]
            for goal in ("adversarial", "hypocritical")
        )
        right, y = (clean["pred_pert"] == clean["y"]).to_numpy(), clean["y"].to_numpy()
        assert point.test.total == len(test) and point.test.wrong == (~right).sum()
        assert point.test.fooled == (right & (adv["pred_pert"].to_numpy() != y)).sum()
        assert point.test.concealed == (~right & (hyp["pred_pert"].to_numpy() == y)).sum()
        assert point.aware.total == base.aware


def test_crafting_goes_half_the_radius_a_step_as_the_paper_does() -> None:
    assert HedgeTrial().crafting.step_length == pytest.approx(4 / 255)
    wide = HedgeTrial(attack=AttackConfig(threat=ThreatModel(eps=16 / 255)))
    assert wide.crafting.step_length == pytest.approx(8 / 255)
    own = HedgeTrial(attack=AttackConfig(step_size=2 / 255))
    assert own.crafting == own.attack


def test_two_halves_by_id_alone() -> None:
    few, many = (splits_of(DIGITS, n) for n in (60, 400))
    assert len(few["validation"]) + len(few["test"]) == 60
    assert 150 < len(many["validation"]) < 250
    for split, other in (("validation", "test"), ("test", "validation")):
        assert not set(few[split].ids.tolist()) & set(many[other].ids.tolist())
    apart = splits_of(replace(DIGITS, validation_size=100), 60)
    assert [len(apart[s]) for s in ("validation", "test")] == [60, 60]


def test_examples_of_which_none_are_left_to_select_are_refused_at_once(monkeypatch) -> None:
    halves = {"validation": (), "test": (1, 2)}
    monkeypatch.setattr("fftune.hedge_study.evaluation.splits_of", lambda *_: halves)
    told = "^base.examples must be so many that some are left for validation, got 2"
    with pytest.raises(ConfigError, match=told):
        check_study(study(examples=2))


@pytest.mark.slow
def test_a_damaged_file_of_perturbed_examples_ends_the_study(done) -> None:
    """No trial is spent: without the file they are made again."""
    root, config, front = done
    again = replace(config, name="again")
    crafted = next((root / "crafted").glob("*.pt"))
    whole = crafted.read_bytes()
    crafted.write_bytes(whole[: len(whole) // 2])
    told = (
        rf"^perturbed examples '{crafted}' .*; delete the file, .*\(trial 0 is left to --resume\)$"
    )
    with pytest.raises(DataError, match=told):
        sweep(again, root=root, backend="inline")
    crafted.unlink()
    found = sweep(again, root=root, backend="inline", resume=True)
    # What had waited for its turn went first.
    counts = [{p.settings["steps"]: p.test for p in one.results} for one in (found, front)]
    assert counts[0] == counts[1]


def test_whoever_knows_is_added_never_left_out(done) -> None:
    root, _, front = done
    for point in front.results:
        rows = Outcomes.read(root / f"studies/quick/trials/{point.trial}/outcomes.parquet")
        behind = rows.where(model_hash=point.model_hash, split="test")
        few = behind.among(behind.where(attack="aware-hedge").values("id"))
        blind = RiskCounts.of(few, attack="pgd-2", split="test")
        assert point.aware.total == blind.total == 8 and point.aware.wrong == blind.wrong
        assert point.aware.fooled >= blind.fooled and point.aware.concealed >= blind.concealed


def test_a_finished_study_is_kept_and_a_longer_one_goes_on(done, monkeypatch) -> None:
    root, config, front = done
    assert Front.read(root / "studies/quick/front.json") == front
    crafted = sorted((root / "crafted").glob("*.pt"))
    assert len(crafted) == 2  # a file a split, for both trials
    monkeypatch.setattr("fftune.hedge_study.trial.evaluate_hedge", None)
    assert sweep(config, root=root, backend="inline") == front
    with pytest.raises(StudyError, match="base.examples was 60, now 61"):
        other = replace(config, base=replace(config.base, examples=61))
        sweep(other, root=root, backend="inline")


def test_the_report_shows_both_sides_and_needs_no_network(done) -> None:
    root, _, front = done
    told = publish(["quick"], root).text
    assert "Chosen: " in told and "Attackers who know it" in told
    text = (root / "studies/quick/report.html").read_text()
    assert "data:image/png;base64," in text and "closed form" in text
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"http", text)
    shown = Showcase.read(root / "studies/quick/exhibit.json")
    for one in shown.flips:
        assert one.right_after - one.right_before == one.false_to_true - one.true_to_false
    (adversarial,) = (f for f in shown.flips if (f.attack, f.defense) == ("pgd-2", "random"))
    a = front.results[0].test.adversarial_accuracy
    assert adversarial.right_after == a.count and adversarial.n == a.n
    section_5, appendix_c = ["1.0000", "0.6667", "0.9167", "0.9167"], ["0.0000", "0.9167", "1.0000"]
    assert [f"{row.hedged:.4f}" for row in shown.linear] == section_5 + appendix_c
    history = json.loads((root / "studies/quick/front.json").read_text())
    assert set(history["hypervolume"]) == {"adversarial_risk_all", "hypocritical_risk"}


def test_a_finished_study_shows_as_many_images_as_are_asked_for(done, monkeypatch) -> None:
    root, config, _ = done
    monkeypatch.setattr("fftune.hedge_study.trial.evaluate_hedge", None)  # no trial runs again
    path = root / "studies/quick/exhibit.json"
    few = ShowcaseConfig(analysed=2, pictures=1, attacked_twice=5, grid=3)
    sweep(replace(config, showcase=few), root=root, backend="inline")
    shown = Showcase.read(path)
    assert all(len(one.values) == 2 for one in shown.similarities)
    assert all(len(one.false_to_true) <= 2 for one in shown.gaps)
    assert int(re.findall(r"(\d+) right", shown.second_attack)[0]) <= 5
    assert len(shown.strips) <= 2 and all(len(one.at) == 3 for one in shown.surfaces)
    sweep(config, root=root, backend="inline")
    usual = Showcase.read(path)
    n = usual.n
    assert all(len(one.values) == n for one in usual.similarities)  # 64 at most, of fewer
    (flips,) = (f for f in usual.flips if (f.attack, f.defense) == ("pgd-2", "hedge"))
    assert len(usual.gaps[0].true_to_false) == min(64, flips.true_to_false)
    assert len(usual.strips) >= len(shown.strips) and usual.settings != shown.settings


def test_a_study_stored_before_its_report_had_settings_is_the_same_study() -> None:
    old = json.loads(to_json(study()))
    del old["showcase"]
    assert study_of(json.dumps(old | {"schema_version": 2})) == study()
    with pytest.raises(ConfigError, match="showcase is missing"):
        study_of(json.dumps(old))
    with pytest.raises(ConfigError, match="grid must be >= 2, got 1"):
        ShowcaseConfig(grid=1)


@pytest.mark.slow
def test_a_search_on_three_risks(root: Path) -> None:
    front = sweep(study(examples=30, aware=4), root=root, backend="inline")
    assert [p.trial for p in front.results] == [0, 1, 2, 3]
    assert front.results[0].settings["eps_d"] == 0
    # Of trials alike in two risks the third may choose: their risks are among those of the front.
    pairs = [
        {t.risks(front.selection, front.risks[::2]) for t in one.members}
        for one in (front.against(front.risks[2]), front)
    ]
    assert pairs[0] <= pairs[1]


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        ((), ConfigError, "model is missing: name a --checkpoint"),
        (("--model", "a.py:f", "--checkpoint", "x"), ModelError, "no complete checkpoint in 'x'"),
        (("--model", "a.py:f", "--base.eps-d", "-1"), ConfigError, "eps_d must be finite and >= 0"),
        (("--model", "a.py:f", "--base.steps", "-1"), ConfigError, "base.steps must be >= 0"),
        (("--model", "a.py:f", "--space", "steps=-1:5"), ConfigError, "space: steps: steps must"),
        (("--model", "a.py:f", "--space", "radius=0:1"), ConfigError, "unknown setting 'radius'"),
        (("--model", "a.py:f", "--aware", "0"), ConfigError, "aware must be >= 1"),
        (("--model", f"{NETS}:rounded", "--data", "digits"), FftuneError, "no input gradients"),
        (
            ("--model", f"{NETS}:nine", "--data", "digits"),
            ModelError,
            "net tells 9 classes apart, digits has 10",
        ),
    ],
)
def test_bad_input_is_one_line(tmp_path, flags, error, message) -> None:
    with pytest.raises(error, match=message) as found:
        main(["hedge", *flags, "--backend", "inline", "--storage", str(tmp_path)])
    assert "\n" not in str(found.value)


def test_a_checkpoint_brings_its_data_and_its_threat(tmp_path, monkeypatch, capsys) -> None:
    trained = training("standard", Basis(eps=0.2))
    optimizer = replace(trained.optimizer, epochs=0, schedule="step")
    folder = tmp_path / "plain" / "checkpoint"
    train(replace(trained, optimizer=optimizer)).save(folder)
    monkeypatch.chdir(tmp_path)
    main(["hedge", "--checkpoint", "plain/checkpoint", "--examples", "40", "--dry-run"])
    said = capsys.readouterr().out
    text, _, cost = said.rpartition("}\n")
    config = study_of(text + "}")
    base = config.base
    assert config.name == "hedge-plain" and base.examples == 40
    assert base.data == trained.data and base.attack.threat.eps == 0.2
    assert base.net.weights == str(folder / "weights.pt")
    # 40 of either split; crafted once by 2 x 20 steps, hedged thrice by K = 20 at most in each of
    # 16 trials, and 40 attacked through it by 2 x 20 steps of 21 passes, then hedged thrice.
    forwards = 2 * 80 * 20 + 16 * (80 * 63 + 40 * (40 * 21 + 63))
    assert cost.startswith(f"16 trials, at most {forwards:,} forward")


def test_nothing_is_chosen_from_a_grid_over_the_attack(done) -> None:
    _, config, front = done
    assert chosen(front, config.base) is not None
    weaker = replace(front.results[1], settings={"steps": 2, "attack.threat.eps": 0.01})
    assert chosen(replace(front, results=(front.results[0], weaker)), config.base) is None
    bare = tuple(replace(p, settings={"eps_d": 0.0}) for p in front.results)
    assert chosen(replace(front, results=bare), config.base) is None
