"""Shares of a card by hand, and trials that run out of memory, in one process."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fftune import recipes
from fftune.config import Dimension, Resources, SweepConfig, config_hash
from fftune.errors import ConfigError, OutOfMemoryError
from fftune.outcomes import Outcomes
from fftune.sweeping import trial_memory
from fftune.sweeping.card_share import MemoryUse, MoreOfCardError, larger, share_of
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_memory import largest
from fftune.sweeping.trial_runner import TrialRunner
from fftune.tracking.store import open_tracking
from tests.sweeping.memory_kind import KIND

GIB = 2**30


@pytest.mark.parametrize(
    ("need", "card", "places", "gpus", "text"),
    [
        (5.4, 140, 16, 0.0625, "16 trials share a card: 5.4 of 140 GiB each (C); its node has"),
        (5.4, 140, 32, 0.0434, "23 trials share a card: 5.4 of 140 GiB each (C)"),
        (30.0, 140, 16, 0.25, "4 trials share a card: 30.0 of 140 GiB each (C)"),
        (42.1, 140, 16, 0.5, "2 trials share a card: 42.1"),  # a third is of the 126 usable
        (63.1, 140, 16, 1.0, "a trial has a card for itself: 63.1 of 140 GiB each (C)"),
        (139.0, 140, 16, 1.0, "a trial has a card for itself"),
        (5.4, 140, 1, 1.0, "a trial has a card for itself: 5.4 of 140 GiB each (C); its node has"),
    ],
)
def test_how_many_trials_share_a_card(need, card, places, gpus, text) -> None:
    use = MemoryUse(need=int(need * GIB), card=card * GIB, name="C")
    share = share_of(use, places=places)
    assert share.gpus == gpus
    assert share.reason.startswith(text)


def test_shares_double_up_to_the_card() -> None:
    assert [larger(x) for x in (0.0, 0.1, 0.25, 0.3333, 0.6, 1.0, 2.0)] == [
        *(None, 0.2, 0.5, 0.6666, 1.0, None, None)
    ]


@pytest.fixture
def needs(tmp_path: Path):
    file = tmp_path / "needs.py"
    file.write_text(KIND)
    return recipes.find(str(file))("tiny")


LINE = (
    "out of memory, 2.00 GiB more were asked for: optimizer.accumulate computes a batch of a "
    "training in more parts (BatchNorm then sees smaller batches, which changes the result); "
    "battery.block_size makes blocks of an evaluation smaller"
)


def asked(root: Path) -> list[tuple[float, float]]:
    lines = (root / "studies/needs/asked").read_text().splitlines()
    return [(float(need), float(share)) for need, share in map(str.split, lines)]


@pytest.mark.slow
def test_a_trial_gets_more_of_the_card_and_then_ends_the_study(needs, root: Path) -> None:
    told = f"^{re.escape(LINE)} \\(trial [24] is left to --resume\\)$"
    for resume in (False, True):
        with pytest.raises(OutOfMemoryError, match=told):
            sweep(needs, root=root, backend="inline", resources=Resources(gpus=0.25), resume=resume)
    assert asked(root) == [
        *((0.2, 0.25), (0.9, 0.25), (0.9, 0.5), (0.9, 1.0)),
        *((3.0, 0.25), (3.0, 0.5), (3.0, 1.0)),
        # Again from where it was; what had waited for it goes first.
        *((0.3, 0.25), (0.3, 0.5), (3.0, 1.0)),
    ]
    attempts = [json.loads(p.read_text()) for p in root.glob("studies/needs/attempts/*")]
    assert sorted((a.get("gpus", 0), len(a["failures"])) for a in attempts) == [
        *((0, 0), (0.5, 0), (1.0, 0), (1.0, 0)),
    ]
    assert [*root.glob("studies/needs/trials/*/failure.json")] == []


@pytest.mark.parametrize("gpus", [0.0, 1.0, 2.0])
def test_where_there_is_no_more_to_give_it_ends_at_once(needs, root: Path, gpus: float) -> None:
    needs = replace(needs, space=(Dimension(path="need", choices=(3.0, 0.0)),))
    with pytest.raises(OutOfMemoryError, match="^out of memory, 2.00 GiB more"):
        sweep(needs, root=root, backend="inline", resources=Resources(gpus=gpus))
    assert asked(root) == [(3.0, gpus)]


def test_more_is_asked_of_who_places_the_trial_and_remembered(needs, root: Path) -> None:
    """A driver that dies in between leaves the share, and nothing else, to the next one."""
    study = StudyDir(root / "studies/needs", needs)
    study.path.mkdir(parents=True)
    runner = TrialRunner(study=study, tracking=open_tracking(root, "fftune"))
    key = config_hash(runner.config({"need": 0.9}))
    with pytest.raises(MoreOfCardError) as more:
        runner(0, {"need": 0.9}, held=0.25)
    assert more.value.gpus == study.share(key) == 0.5
    again = TrialRunner(study=study, tracking=open_tracking(root, "fftune"))
    with pytest.raises(MoreOfCardError) as more:
        again(1, {"need": 0.9}, held=0.25)  # without another try at a quarter
    assert more.value.gpus == 0.5
    with pytest.raises(MoreOfCardError):
        again(1, {"need": 0.9}, held=0.5)
    assert [r.settings["need"] for r in again(1, {"need": 0.9}, held=1.0)] == [0.9]
    assert asked(root) == [(0.9, 0.25), (0.9, 0.5), (0.9, 1.0)]
    assert study.begin_attempt(key, "another") == []


OBJECTIVE = """
from pathlib import Path
import torch
from torch.nn import functional as F

CALLS = []

def objective(logits, logits_pert, y, *, lam):
    CALLS.append(None)
    marker = Path(__file__).with_name("ran-out")
    if len(CALLS) == 7 and not marker.exists():
        marker.touch()
        {raises}
    return F.cross_entropy(logits, y)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "raises",
    [
        'raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")',
        "torch.empty(2**46)",
    ],
)
def test_rows_after_running_out_are_those_of_an_undisturbed_run(
    quick: SweepConfig, root: Path, tmp_path: Path, raises: str
) -> None:
    file = tmp_path / "objective.py"
    file.write_text(OBJECTIVE.replace("{raises}", raises))
    lam = Dimension(path="optimizer.lr", choices=(0.05, 0.02))
    base = replace(quick.base, objective=f"{file}:objective", lam=1.0)
    config = replace(quick, base=base, space=(lam,), strategy="grid")
    rows = {}
    for name in ("disturbed", "calm"):
        study = replace(config, name=name)
        front = sweep(study, root=root, backend="inline", resources=Resources(gpus=0.5))
        assert (tmp_path / "ran-out").exists() and not front.failures
        paths = sorted(root.glob(f"studies/{name}/trials/*/outcomes.parquet"))
        rows[name] = [Outcomes.read(path).table for path in paths]
    assert len(rows["calm"]) == 2
    assert all(a.equals(b) for a, b in zip(rows["disturbed"], rows["calm"], strict=True))
    shares = [json.loads(p.read_text())["gpus"] for p in root.glob("studies/*/attempts/*")]
    assert sorted(shares) == [0.0, 0.0, 0.0, 1.0]


def test_without_a_card_auto_is_no_gpu(needs, root: Path, caplog) -> None:
    caplog.set_level("INFO", "fftune")
    needs = replace(needs, space=(Dimension(path="need", choices=(0.0, -1.0)),))
    sweep(needs, root=root, backend="inline", resources=Resources(gpus="auto"))
    assert {share for _, share in asked(root)} == {0}
    share = json.loads((root / "studies/needs/card_share.json").read_text())
    assert share == {"gpus": 0.0, "reason": "there is no card: trials run on the CPU"}
    assert share["reason"] in caplog.messages


@pytest.mark.parametrize("wrong", [-1, float("inf"), float("nan"), "many"])
def test_shares_that_are_no_number(wrong) -> None:
    with pytest.raises(ConfigError, match="^gpus must be "):
        Resources(gpus=wrong)


def test_auto_is_for_sweeps() -> None:
    with pytest.raises(ConfigError, match="^gpus must be a number where nothing is searched, got"):
        Resources(gpus="auto").share  # noqa: B018
    assert Resources(gpus=0.25).share == 0.25


def test_a_training_and_a_block_of_its_evaluation_are_measured(quick, monkeypatch) -> None:
    """On a CPU, where the peak is made up."""
    called = []
    take, judge = trial_memory.take_steps, trial_memory.evaluate

    def counted(model, dataset, battery, **rest):
        called.append((len(dataset.y), battery.steps))
        return judge(model, dataset, battery, **rest)

    monkeypatch.setattr(trial_memory, "device_of", lambda _wanted: "cpu")
    monkeypatch.setattr(trial_memory, "peak_memory", lambda: (3, 10, "C"))
    monkeypatch.setattr(trial_memory, "take_steps", lambda *a: called.append(a[0].lam) or take(*a))
    monkeypatch.setattr(trial_memory, "evaluate", counted)
    found = trial_memory.measure_memory(quick)
    assert found == MemoryUse(need=3, card=10, name="C")
    assert called == [100.0, (256, 2)]


def test_the_largest_settings_of_a_study(quick: SweepConfig) -> None:
    space = (
        Dimension(path="lam", low=0.0, high=9.0),
        Dimension(path="optimizer.batch_size", choices=(20, 50, 10)),
        Dimension(path="optimizer.accumulate", choices=(1, 5)),
        Dimension(path="objective", choices=("thrm", "trades")),
        Dimension(path="optimizer.lr", low=0.01, high=0.1),
    )
    found = largest(replace(quick, space=space))
    assert [base.objective for base in found] == ["thrm", "trades"]
    for base in found:
        assert base.lam == 9 and base.optimizer.lr == quick.base.optimizer.lr
        assert (base.optimizer.batch_size, base.optimizer.accumulate) == (50, 1)
    assert [base.lam for base in largest(quick)] == [max(quick.lam)]
