"""What follows the device of an evaluation: size of blocks, precision, a second search."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cells import Quarter, Says, Searches, attack, frame, model_under_test, move, part

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel, from_json, to_json
from fftune.devices import CPU, CUDA
from fftune.errors import ConfigError
from fftune.evaluation import block
from fftune.evaluation.block_cache import BlockCache
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.job import EvalJob, block_size_of, search_precision, sized
from fftune.evaluation.question import question_of, questions_of
from tests.brief import BRIEF

THREAT = ThreatModel(eps=0.02)


def job_of(data, battery: BatteryConfig, **settings) -> EvalJob:
    return EvalJob.of(data, battery, model_hash="m", threat=THREAT, **settings)


def test_the_size_of_a_block_is_what_is_said_or_what_the_device_wants() -> None:
    unsaid, said = BatteryConfig(device="cpu"), BatteryConfig(device="cpu", block_size=7)
    assert (block_size_of(unsaid), block_size_of(unsaid, "cuda")) == (256, 1000)
    assert (block_size_of(said), block_size_of(said, "cuda")) == (7, 7)
    assert sized(unsaid, "cuda") == replace(unsaid, block_size=1000)
    assert (CPU.block_size, CUDA.block_size) == (256, 1000)
    with pytest.raises(ConfigError, match="block_size must be >= 1, got 0"):
        BatteryConfig(block_size=0)


def test_a_job_and_its_question_have_it_resolved(toy, blobs) -> None:
    unsaid, said = (BatteryConfig(steps=1, device="cpu", block_size=size) for size in (None, 256))
    assert job_of(blobs, unsaid).battery == job_of(blobs, said).battery == said
    assert EvalJob.bare(toy, blobs, unsaid).block_size == 256
    one, other = (evaluate(toy, blobs, battery, threat=THREAT) for battery in (unsaid, said))
    assert one.table.equals(other.table)
    (question,) = questions_of(one)
    assert question.block_size == 256 and one.questions == other.questions
    assert "blocks of 256" in question.head()


def test_blocks_that_were_kept_under_the_former_default_are_found(toy, blobs, tmp_path) -> None:
    old, new = (job_of(blobs, BatteryConfig(device="cpu", block_size=b)) for b in (256, None))
    paths = [
        [BlockCache(tmp_path, job, "net", "cpu")._path(task) for task in job.tasks(job.attacks[0])]
        for job in (old, new)
    ]
    assert paths[0] == paths[1]


def test_stored_settings_with_a_size_are_read_as_they_are() -> None:
    for size in (256, 1000, None):
        battery = BatteryConfig(block_size=size)
        assert from_json(BatteryConfig, to_json(battery)) == battery


def test_only_rows_that_moved_have_another_key_and_question(toy, blobs, tmp_path: Path) -> None:
    """Those of a bare net on a CPU are what they were."""
    battery = BatteryConfig(device="cpu", steps=1)
    bare = job_of(blobs, battery)
    hedged = job_of(blobs, battery, defense=DefenseConfig(**BRIEF, names=("hedge",), steps=1))
    cells = [(bare, "cpu"), (bare, "cuda"), (hedged, "cpu"), (hedged, "cuda")]
    marks = [BlockCache(tmp_path, job, "net", device)._common[-1] for job, device in cells]
    assert marks == ["auto", 2, 2, 2]

    def suite(job: EvalJob, device: str) -> str:
        settings = {"net": "n", "code": "c", "threat": THREAT, "available": None}
        return question_of(job, **settings, device=device, precision="fp32").suite

    assert suite(bare, "cpu") != suite(bare, "cuda")


@pytest.mark.parametrize(
    ("device", "said", "expected"),
    [
        ("cpu", "auto", "auto"),
        ("cpu", "bf16", "bf16"),
        ("cuda", "auto", "fp32"),
        ("cuda", "bf16", "bf16"),
        ("cuda", "fp32", "fp32"),
    ],
)
def test_auto_is_what_the_device_was_measured_to_do_best(device, said, expected) -> None:
    assert search_precision(said, device) == expected


@pytest.mark.parametrize("again", [False, True])
def test_what_survives_bf16_is_searched_again_in_fp32(again: bool, monkeypatch) -> None:
    """Of 30, 4 and 17, which are right when clean, bf16 finds 30; fp32 finds 4 beside it."""
    searches = Searches(monkeypatch)
    monkeypatch.setattr(block, "policy", lambda _: replace(CPU, bf16_again=again))
    subject = model_under_test()

    def moves(ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        copied = searches.given[-1]["net"].model is subject.surrogate
        return move({30: 0.375, 4: 0.6} if copied else {30: 0.375})(ids, x)

    searches.set("apgd", moves)
    rows = frame(subject, attack(part("apgd", protocol="first_success")))
    asked = [(given["net"].model, given["ids"]) for given in searches.given]
    first = [(subject.surrogate_lowp, [30, 4, 17])]
    assert asked == ([*first, (subject.surrogate, [4, 17])] if again else first)
    assert rows["success"].tolist() == [True, again, False, True, True]
    assert rows["pred_pert"].tolist() == [1, 2 if again else 1, 2, 3, 0]


def test_what_fp32_claims_after_bf16_is_confirmed_too(monkeypatch) -> None:
    """Its copy says 3 of all, and is not believed: the untouched net is searched."""
    searches = Searches(monkeypatch)
    monkeypatch.setattr(block, "policy", lambda _: replace(CPU, bf16_again=True))
    subject = model_under_test(surrogate=Says(3), surrogate_lowp=Quarter())
    searches.set("apgd", move({}))
    frame(subject, attack(part("apgd", protocol="first_success")))
    assert [given["net"].model for given in searches.given] == [
        subject.surrogate_lowp,
        subject.surrogate,
        subject.net,
    ]


def test_in_fp32_there_is_no_second_search(monkeypatch) -> None:
    searches = Searches(monkeypatch)
    monkeypatch.setattr(block, "policy", lambda _: replace(CPU, bf16_again=True))
    net = Quarter()
    subject = model_under_test(surrogate=net, surrogate_lowp=net)
    searches.set("apgd", move({}))
    frame(subject, attack(part("apgd", protocol="first_success")))
    assert searches.tried == [("apgd", [30, 4, 17])]
