"""Every question has a name of its own, and its rows say what they answer."""

import json
import logging
from dataclasses import fields, replace

import mlflow
import pyarrow.parquet as pq
import pytest

from fftune import __version__
from fftune.cli.evaluate import main
from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, from_json, to_json
from fftune.errors import DataError
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.question import Defended, Question, questions_of
from fftune.outcomes import Outcomes, questions_in
from fftune.report import evaluations as records
from fftune.tracking.runs import REPLACED
from tests.brief import BRIEF
from tests.questions import ASKED as PLAIN

HEDGE = Defended(name="hedge", norm="linf", eps_d=0.1, steps=2, step_size=0.05, clamp=True)
ASKED = replace(PLAIN, defenses=(HEDGE,), repeats=3)
OTHERS = {
    "net": "other",
    "model_hash": "1a2b3c4d00000000",
    "code": "other file",
    "data": "cifar100",
    "dataset_hash": "e",
    "split": "validation",
    "examples": 999,
    "available": 10001,
    "classes": ("dog", "cat"),
    "norm": "l2",
    "eps": 8 / 255 + 1e-12,
    "clamp": False,
    "battery": "risks",
    "tier": "standard",
    "attacks": ("cw", "pgd-20"),
    "suite": "t",
    "precision": "bf16",
    "device": "cuda",
    "threads": 2,
    "block_size": 255,
    "seed": 1,
    "defenses": (replace(HEDGE, step_size=0.06),),
    "repeats": 4,
    "engine": 3,
}


def test_the_name_says_it_and_a_head_tells_all() -> None:
    start = "fastat_small-1a2b3c4d-cifar10-test-n1000-linf-0.0314-nine-full-hedge-"
    assert ASKED.name == f"{start}{ASKED.hash}" and len(ASKED.hash) == 8
    assert ASKED.head().splitlines() == [
        "net       fastat_small, weights 1a2b3c4d",
        "images    cifar10, test: n = 1,000 of 10,000",
        "classes   2 in order: cat, dog",
        "ball      linf, eps 0.0313725 (8/255)",
        "attacks   battery nine, tier full: pgd-20, cw; seed 0",
        "defenses  hedge (linf, eps_d 0.1, K 2 of 0.05); 3 draws of each",
        f"run       cpu, fp32, 1 thread, blocks of 256; fftune {__version__}, engine 2",
    ]
    assert ASKED.head(6.0).startswith("net       fastat_small, weights 1a2b3c4d, lambda 6\n")
    aware = replace(ASKED, attacks=(*ASKED.attacks, "clean", "random-start", "aware-hedge"))
    assert aware.head().splitlines()[4:7] == [
        *ASKED.head().splitlines()[4:6],
        "aware     clean, random-start, aware-hedge (controls, and attackers that know of "
        "defenses)",
    ]
    remarked = replace(ASKED, remarks=("range: inputs beyond 1",))
    assert remarked.head().endswith("remark    range: inputs beyond 1")


@pytest.mark.parametrize("field", OTHERS)
def test_whatever_differs_names_differ(field: str) -> None:
    assert replace(ASKED, **{field: OTHERS[field]}).name != ASKED.name


def test_every_field_but_the_remarks_is_asked() -> None:
    assert {f.name for f in fields(Question)} == {*OTHERS, "remarks", "origin"}
    assert replace(ASKED, remarks=("a: b",), origin="w.pt").name == ASKED.name
    told = replace(ASKED, origin="w.pt (sha256 12ab)").head().splitlines()
    assert told[1] == "from      w.pt (sha256 12ab)"


@pytest.mark.parametrize(
    "net", ["bob's", "../../etc", "/home/me/w.pt", "a b\n?%", "x" * 300, "Käse", ""]
)
def test_no_name_leaves_its_folder_or_ends_a_filter(net: str) -> None:
    name = replace(ASKED, net=net, data=f"folder:{net}").name
    assert len(name) < 200 and name.isascii()
    assert all(c.isalnum() or c in "._-" for c in name)


def test_json_gives_the_question_back() -> None:
    assert from_json(Question, to_json(ASKED)) == ASKED


def test_a_question_of_another_spelling_is_read() -> None:
    assert from_json(Question, to_json(ASKED).replace("defenses", "defences")) == ASKED


def test_rows_in_memory_say_what_was_resolved(toy, blobs) -> None:
    defense = DefenseConfig(**BRIEF, names=("random",), norm="l2", repeats=1, draws=1)
    threat = ThreatModel(eps=0.05)
    (found,) = questions_of(
        evaluate(toy, blobs, BatteryConfig(steps=1), threat=threat, defense=defense)
    )
    assert (found.data, found.split, found.examples) == ("blobs", "test", 100)
    assert found.classes == tuple("abcdefgh")
    assert (found.norm, found.eps, found.device, found.precision) == ("linf", 0.05, "cpu", "fp32")
    assert [(d.name, d.norm, d.eps_d) for d in found.defenses] == [("random", "l2", 0.5)]


FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
FEW = ("--data=digits", "--battery=risks", "--battery.steps=1", "--examples=20")


@pytest.fixture
def net(tmp_path, root, monkeypatch) -> str:
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "bob's.py").write_text(FILE)
    return f"--model={tmp_path / 'bob'}'s.py:net"


def runs(root) -> list:
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    return client.search_runs([client.get_experiment_by_name("evaluate-digits").experiment_id])


@pytest.mark.slow
def test_a_second_radius_deletes_nothing_and_the_same_again_replaces_itself(
    net, root, capsys
) -> None:
    for eps in ("0.1", "0.2", "0.1"):
        main([net, *FEW, "--eps", eps])
    said = capsys.readouterr().out
    assert said.startswith(
        "net       net, weights 05288027\nimages    digits, test: n = 20 of 1,197\n"
    )
    assert "classes   10 in order: 0, 1, 2" in said and "ball      linf, eps 0.1\n" in said
    files = sorted((root / "rows").glob("*.parquet"))
    assert len(files) == 2
    found = runs(root)
    assert sorted(run.data.tags["fftune.eps"] for run in found) == ["0.1", "0.2 (51/255)"]
    assert {run.info.run_name for run in found} == {path.stem for path in files}
    for path in files:
        (question,) = questions_in(path)
        beside = json.loads(path.with_name(f"{path.name}.json").read_text())
        assert beside["question"] == question and beside["name"] == path.stem
        clean = beside["rates"]["clean_accuracy"]
        rows = Outcomes.read(path).to_pandas().drop_duplicates("id")
        assert clean["count"] == (rows["pred_clean"] == rows["y"]).sum() and clean["n"] == 20
        assert clean["low"] < clean["value"] < clean["high"]


@pytest.mark.slow
def test_another_norm_has_its_own_radius(net, tmp_path, capsys) -> None:
    rows = tmp_path / "o'brien.parquet"
    main([net, *FEW, "--norm", "l2", "--rows", str(rows)])
    assert "l2, eps 0.5\n" in capsys.readouterr().out
    assert Outcomes.read(rows).values("eps") == {0.5}
    main([net, *FEW, "--norm", "l2", "--eps", "0.2", "--rows", str(rows)])
    assert Outcomes.read(rows).values("eps") == {0.2}


class Death(BaseException):
    """Nobody handles it."""


@pytest.mark.some(1)
@pytest.mark.parametrize("step", ["tell", "file"])
def test_rows_of_a_process_that_died_have_one_run_in_the_end(net, root, monkeypatch, step) -> None:
    """It dies before the run of its rows, or in the middle of it."""

    def die(*_: object) -> None:
        raise Death

    owner = records.EvaluationRecord if step == "tell" else records.TrackedRun
    with monkeypatch.context() as patched:
        patched.setattr(owner, step, die)
        with pytest.raises(Death):
            main([net, *FEW])
    for _ in range(2):
        main([net, *FEW])
    ends = [(run.info.status, REPLACED in run.data.tags) for run in runs(root)]
    assert ends.count(("FINISHED", False)) == 1
    assert ends.count(("KILLED", True)) == len(ends) - 1 == (step == "file")


def test_whatever_mlflow_does_at_the_end_the_table_is_there(
    net, root, capsys, caplog, monkeypatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the server\nhas lost its mind")

    monkeypatch.setattr("fftune.report.evaluations.in_place_of", broken)
    with caplog.at_level(logging.WARNING):
        main([net, *FEW])
    assert "clean images" in capsys.readouterr().out
    assert len(list((root / "rows").glob("*.parquet"))) == 1
    (warning,) = (r.getMessage() for r in caplog.records if "MLflow" in r.getMessage())
    assert warning.startswith("MLflow has no record of net-") and warning.endswith("the server")


@pytest.mark.slow
def test_a_file_that_was_cut_is_refused_though_it_is_valid(net, tmp_path) -> None:
    rows = tmp_path / "rows.parquet"
    main([net, *FEW, "--rows", str(rows)])
    table = pq.read_table(rows)
    swapped = table.take([*range(2, len(table)), 0, 1])
    doctored = table.set_column(0, table.schema.field(0), table.column(0).slice(0))
    for damaged, told in (
        (table.slice(0, len(table) // 2), "hold 20 of 40 rows"),
        (table.slice(0, 0), "hold 0 of 40 rows"),
        (swapped, "are not the rows that were written"),
        (doctored.replace_schema_metadata({}), "hold 40 of an unknown number of rows"),
    ):
        pq.write_table(damaged, rows)
        with pytest.raises(DataError, match=told):
            Outcomes.read(rows)
