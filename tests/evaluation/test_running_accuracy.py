"""What an evaluation tells while it runs: accuracy and risk over all attacks so far, by hand."""

import logging

import pytest
import torch

from fftune.config import BatteryConfig, ThreatModel
from fftune.evaluation.batteries import ensemble, risks
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.running_accuracy import RunningAccuracy, stage_name
from fftune.outcomes import rows
from fftune.progress import Progress

PGD, FRIEND = risks(ThreatModel(eps=0.1), 20)
ALL = ensemble(ThreatModel(eps=0.1), "full")


def table(ids: list[int], clean: list[int], perturbed: list[int]):
    """Rows of examples of class 0."""
    return rows(
        len(ids),
        {"dataset_hash": "d", "split": "test", "model_hash": "m", "norm": "linf", "eps": 0.1}
        | {"attack": "a", "goal": "adversarial", "target": -1, "config_hash": "c", "seed": 0}
        | {"restart": 0, "tier": "full", "protocol": "last_iterate", "defense": "none"}
        | {"defense_repeat": 0, "id": ids, "y": 0, "pred_clean": clean, "success": False}
        | {"pred_clean_defended": clean, "pred_pert": perturbed, "queries": 0, "forwards": 0}
        | {"backwards": 0, "distance": 0.0, "status": "ok"},
    )


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "fftune.evaluation")
    return lambda: [one.getMessage() for one in caplog.records if one.name == "fftune.evaluation"]


def test_each_attack_lowers_what_is_left(said) -> None:
    """Of four images one is wrong when clean; PGD takes one, the ensemble another."""
    running = RunningAccuracy("net")
    running.ask([PGD, PGD], [])
    running.put(PGD, table([0, 1], [0, 0], [1, 0]), 4)
    assert said() == []
    running.put(PGD, table([2, 3], [0, 1], [0, 0]), 8)
    running.ask([ALL], [])
    running.put(ALL, table([0, 1, 2, 3], [0, 0, 0, 1], [0, 2, 0, 1]), 70)
    running.ask([FRIEND], [])
    running.put(FRIEND, table([3], [1], [0]), 1)
    assert said() == [
        "net: clean accuracy: 75.0 % of 4",
        "net: robust accuracy after pgd-20: 50.0 % (12 s)",
        "net: robust accuracy after autoattack: 25.0 % (1 min 10 s)",
        "net: mistakes concealed after pgd-20: 100.0 % of 1 (1 s)",
    ]


def test_what_only_checks_a_battery_is_no_attack_of_it(said) -> None:
    running = RunningAccuracy("net", [ALL])
    running.ask([PGD, ALL], [])
    running.put(PGD, table([0, 1], [0, 0], [1, 1]), 1)
    running.put(ALL, table([0, 1], [0, 0], [1, 0]), 1)
    assert said() == [
        "net: clean accuracy: 100.0 % of 2",
        "net: robust accuracy after autoattack: 50.0 % (1 s)",
    ]


def test_known_blocks_count_without_a_line(said) -> None:
    running = RunningAccuracy("net")
    running.ask([PGD], [(PGD, table([0], [0], [1]))])
    running.put(PGD, table([1], [0], [0]), 1)
    assert said()[-1] == "net: robust accuracy after pgd-20: 50.0 % (1 s)"


def test_a_part_of_other_work_tells_nothing(said) -> None:
    running = RunningAccuracy("net")
    with Progress("study", unit="trials", total=2), Progress("net", unit="blocks", total=1):
        running.ask([PGD], [])
        running.put(PGD, table([0], [0], [1]), 1)
    assert said() == []


def test_the_searches_of_an_ensemble_are_named_as_the_field_does() -> None:
    assert [stage_name(one) for one in ALL.stages] == ["apgd-ce", "apgd-t", "fab-t", "square"]


def test_an_ensemble_tells_what_each_search_leaves(toy, blobs, said) -> None:
    few = blobs.select(torch.arange(30), "test")
    battery = BatteryConfig(name="ensemble", tier="screen", block_size=16)
    found = evaluate({"toy": toy}, few, battery, threat=ThreatModel(eps=0.02))["toy"].complete()
    frame = found.where(attack="ensemble").to_pandas()
    left = (frame["pred_clean"] == frame["y"]) & (frame["pred_pert"] == frame["y"])
    told = [line for line in said() if "robust accuracy after" in line]
    names = [line.partition("after ")[2].partition(":")[0] for line in told]
    assert names[:4] == ["apgd-t", "apgd-ce", "apgd-margin", "ensemble"]
    shares = [float(line.partition(": ")[2].partition(": ")[2].partition(" %")[0]) for line in told]
    assert shares[:4] == sorted(shares[:4], reverse=True)
    assert shares[2] == shares[3] == round(100 * left.mean(), 1)
