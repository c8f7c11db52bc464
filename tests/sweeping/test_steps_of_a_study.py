"""Death between any two steps of a study that belong together; what ends it, and what fails it."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import mlflow
import optuna
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import OperationalError

from fftune import recipes
from fftune.cli.edge import ended
from fftune.cli.options import perform
from fftune.cli.sweep import main
from fftune.config import Dimension, Study, every_setting
from fftune.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergedError,
    FftuneError,
    OutOfMemoryError,
    StorageError,
    StudyError,
    UserError,
    packed,
    unpacked,
)
from fftune.report.publish import publish
from fftune.sweeping import inline, optuna_storage
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.study_kind import kind_of
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_errors import by_settings, by_surroundings, ending
from fftune.sweeping.trial_results import Failure
from fftune.sweeping.trial_runner import TrialRunner
from fftune.tracking.runs import TrackedRun

SHARES = [0.1, 0.5, 0.9]


class Death(BaseException):
    """Nobody handles it."""


@pytest.fixture(scope="session")
def coins() -> Study:
    return recipes.find(str(Path(__file__).with_name("coin_kind.py")))("tiny")


def run(config: Study, root: Path, **options: object) -> Front:
    return sweep(config, root=root, backend="inline", **options)


def breaks(monkeypatch, config: Study, error: Callable[[float, int], BaseException | None]) -> list:
    """Let trials raise what `error` gives for their share, and the number of times they began."""
    kind, begun = kind_of(config), []

    def measure(run):
        begun.append(run.config.share)
        if found := error(run.config.share, begun.count(run.config.share)):
            raise found
        return kind.measure(run)

    monkeypatch.setattr(TrialRunner, "kind", property(lambda _self: replace(kind, measure=measure)))
    return begun


def dies(monkeypatch, owner: object, name: str, when: str, at: int) -> None:
    """Let a process die before or after the `at`-th call of a function."""
    function, calls = getattr(owner, name), []

    def call(*arguments, **named):
        calls.append(name)
        if len(calls) == at and when == "before":
            raise Death
        found = function(*arguments, **named)
        if len(calls) == at and when == "after":
            raise Death
        return found

    monkeypatch.setattr(owner, name, call)


def search_of(root: Path) -> optuna.Study:
    journal = JournalFileBackend(str(root / "studies/coins/optuna.journal"))
    return optuna.load_study(study_name="coins", storage=JournalStorage(journal))


def assert_whole(config: Study, root: Path, shares: list[float], failed: int = 0) -> None:
    """Each share ended once, on disk, in Optuna and in MLflow, and nothing is left at work."""
    study = StudyDir(root / "studies/coins", config)
    assert sorted(s["share"] for s in study.recorded().values()) == shares
    states = [t.state.name for t in search_of(root).trials]
    assert states.count("COMPLETE") == len(shares) - failed
    assert set(states) <= {"COMPLETE", "FAIL"}
    client = mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name(config.experiment).experiment_id])
    ends = [r.info.status for r in runs if "fftune.replaced_by" not in r.data.tags]
    assert ends.count("FINISHED") == len(shares) - failed and "RUNNING" not in ends


STEPS = {
    "result": (StudyDir, "finish", 2),
    "run": (TrackedRun, "end", 2),
    "tell": (inline, "tell", 2),
    "last result": (StudyDir, "finish", 3),
    "last tell": (inline, "tell", 3),
    "front": (Front, "write", 1),
}


SLOW = pytest.mark.slow
QUICK = {("result", "after"), ("run", "after"), ("tell", "after"), ("front", "before")}
"""One of each pair; at the others there is nothing that these do not have."""


@pytest.mark.parametrize(
    ("step", "when"),
    [
        pytest.param(step, when, marks=[] if (step, when) in QUICK else SLOW)
        for step in STEPS
        for when in ("before", "after")
    ],
)
def test_death_beside_a_step_loses_and_repeats_nothing(
    coins: Study, root: Path, monkeypatch, step: str, when: str
) -> None:
    with monkeypatch.context() as patched:
        owner, name, at = STEPS[step]
        dies(patched, owner, name, when, at)
        with pytest.raises(Death):
            run(coins, root)
    front = run(coins, root, resume=True)
    assert sorted(r.settings["share"] for r in front.results) == SHARES
    assert_whole(coins, root, SHARES)


def test_a_disk_that_fails_when_the_record_has_its_name_costs_no_run(
    coins: Study, root: Path, monkeypatch
) -> None:
    """Only the folder is not on disk yet: the trial is finished, and its run ends so."""
    finish = StudyDir.finish

    def fail(study: StudyDir, results) -> None:
        finish(study, results)
        raise StorageError("cannot write 'result.json': Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(StudyDir, "finish", fail)
        with pytest.raises(StorageError, match="trial 0 is left to --resume"):
            run(coins, root)
    run(coins, root, resume=True)
    assert_whole(coins, root, SHARES)


@pytest.mark.parametrize(
    ("step", "when"),
    [
        ("tell", "after"),
        ("enqueue_trial", "after"),
        pytest.param("tell", "before", marks=SLOW),
        pytest.param("enqueue_trial", "before", marks=SLOW),
    ],
)
def test_death_while_a_dead_drivers_trial_is_queued_again(
    coins: Study, root: Path, monkeypatch, step: str, when: str
) -> None:
    """The trial fails in Optuna, and its settings are queued: one step is nothing without both."""
    with monkeypatch.context() as patched:
        breaks(patched, coins, lambda share, _: Death() if share == 0.5 else None)
        with pytest.raises(Death):
            run(coins, root)
    with monkeypatch.context() as patched:
        dies(patched, optuna.Study, step, when, 1)
        with pytest.raises(Death):
            run(coins, root, resume=True)
    run(coins, root, resume=True)
    assert_whole(coins, root, SHARES)


@pytest.mark.parametrize("step", ["fail", "tell"])
def test_death_beside_the_record_of_a_failure(coins, root: Path, monkeypatch, step: str) -> None:
    begun = breaks(
        monkeypatch, coins, lambda s, _: DivergedError("loss is nan") if s == 0.5 else None
    )
    with monkeypatch.context() as patched:
        dies(
            patched,
            *((StudyDir, "fail") if step == "fail" else (inline, "tell")),
            "after",
            1 + (step == "tell"),
        )
        with pytest.raises(Death):
            run(coins, root)
    front = run(coins, root, resume=True)
    assert [f.settings["share"] for f in front.failures] == [0.5] and begun == SHARES
    assert front.failures[0].error == "DivergedError"
    assert_whole(coins, root, SHARES, failed=1)


CRAFTED = "perturbed examples 'x.pt' cannot be read"
LAUNCH = "CUDA error: unspecified launch failure"
OF_SURROUNDINGS = {
    "a full disk": (OSError(errno.ENOSPC, "x", "/x/y"), StorageError, "'/x/y': the disk is full"),
    "descriptors": (OSError(errno.EMFILE, "x", "/x"), StorageError, "too many open files"),
    "memory": (MemoryError(), OutOfMemoryError, "out of memory"),
    "a device": (RuntimeError(f"{LAUNCH}\nmore"), DeviceError, f"the device failed: {LAUNCH}"),
    "a damaged file": (DataError(CRAFTED), DataError, CRAFTED),
    "no device": (DeviceError("device must be one"), DeviceError, "device must be"),
    "torch": (RuntimeError("PytorchStreamWriter failed writing"), StorageError, "Writer failed"),
}


@pytest.mark.parametrize("what", OF_SURROUNDINGS)
def test_each_of_the_surroundings_is_one_line(what: str) -> None:
    error, kind, text = OF_SURROUNDINGS[what]
    told = ending(error, 1)
    assert type(told) is kind and text in str(told) and "\n" not in str(told)
    assert told.exit_code == 2 and str(told).endswith("(trial 1 is left to --resume)")


@pytest.mark.parametrize("what", ["a full disk", "memory", "a damaged file"])
def test_surroundings_end_a_study_and_spend_no_trial(
    coins: Study, root: Path, monkeypatch, what: str
) -> None:
    error, kind, text = OF_SURROUNDINGS[what]
    begun = breaks(monkeypatch, coins, lambda s, n: error if (s, n) == (0.5, 1) else None)
    with pytest.raises(kind, match=text) as told:
        run(coins, root)
    assert "\n" not in str(told.value) and told.value.exit_code == 2
    assert str(told.value).endswith("(trial 1 is left to --resume)")
    assert [*root.glob("studies/*/trials/*/failure.json")] == []
    assert begun == [0.1, 0.5]  # at once: nobody can mend it meanwhile
    with pytest.raises(StudyError, match="unfinished"):
        run(coins, root)
    assert run(coins, root, resume=True).failures == ()
    assert_whole(coins, root, SHARES)


def test_what_nobody_foresaw_is_tried_again_and_then_ends_the_study(
    coins: Study, root: Path, monkeypatch
) -> None:
    begun = breaks(
        monkeypatch, coins, lambda s, n: RuntimeError("odd") if s == 0.5 and n < 4 else None
    )
    with pytest.raises(RuntimeError, match="^odd$"):
        run(coins, root)
    assert begun.count(0.5) == coins.attempts == 3
    assert len(run(coins, root, resume=True).results) == 3 and begun.count(0.5) == 4
    assert_whole(coins, root, SHARES)


def test_settings_that_do_not_go_together_are_a_failure_of_their_own(
    coins, root, monkeypatch
) -> None:
    breaks(monkeypatch, coins, lambda s, _: ConfigError("share must be odd") if s == 0.1 else None)
    front = run(coins, root)
    assert [(f.settings, f.reason) for f in front.failures] == [
        ({"share": 0.1}, "share must be odd")
    ]
    assert_whole(coins, root, SHARES, failed=1)


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        ("cannot write '/x': the disk is full; nothing was left behind", True),
        ("loss is nan in epoch 1", False),
    ],
)
def test_failures_that_older_versions_recorded(
    coins, root: Path, monkeypatch, reason, again
) -> None:
    begun = breaks(
        monkeypatch, coins, lambda s, n: DivergedError(reason) if (s, n) == (0.5, 1) else None
    )
    run(coins, root)
    path = root / "studies/coins/trials/1/failure.json"
    old = json.loads(path.read_text())
    del old["error"]
    path.write_text(json.dumps(old))
    if again:
        with pytest.raises(StudyError, match=r"unfinished \(2 of 3 trials\)"):
            run(coins, root)
    front = run(coins, root, resume=True)
    assert len(front.failures) == 1 - again and begun.count(0.5) == 1 + again
    assert_whole(coins, root, SHARES, failed=1 - again)


@pytest.mark.parametrize("strategy", [pytest.param("gp", marks=SLOW), "tpe", "random"])
def test_three_trials_of_two_choices_repeat_none(coins, root: Path, strategy, caplog) -> None:
    caplog.set_level("INFO", "fftune")
    space = (Dimension(path="share", choices=(0.1, 0.9)),)
    small = replace(coins, space=space, strategy=strategy, trials=3)
    assert len(run(small, root).results) == 2
    assert "2 trials: the space has no more settings, and none is tried twice" in caplog.messages
    assert run(small, root) == run(small, root, resume=True)
    assert_whole(small, root, [0.1, 0.9])


def test_the_settings_of_a_space(coins: Study) -> None:
    """By hand; those of equal effect count once."""
    coin = Dimension(path="share", choices=(0.1, 0.9))
    dice = Dimension(path="flips", low=1, high=3)
    assert every_setting(replace(coins, space=(coin,))) == ({"share": 0.1}, {"share": 0.9})
    assert len(every_setting(replace(coins, space=(coin, dice)))) == 2
    assert every_setting(replace(coins, space=(Dimension(path="share", low=0, high=0.5),))) == ()
    many = Dimension(path="flips", low=0, high=10_000)
    assert every_setting(replace(coins, space=(many,))) == ()


def test_a_command_ends_with_one_line_and_goes_on(coins, root, monkeypatch, capsys) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/x/y")
    breaks(monkeypatch, coins, lambda share, n: full if (share, n) == (0.5, 1) else None)
    words = [str(Path(__file__).with_name("coin_kind.py")), "--backend", "inline", "--quiet"]
    words += ["--storage", str(root)]
    assert ended(partial(perform, main, words)) == 2
    told = capsys.readouterr()
    line = "fftune: '/x/y': the disk is full (trial 1 is left to --resume)\n"
    assert (told.out, told.err) == ("", line)
    assert ended(partial(perform, main, [*words, "--resume"])) == 0
    assert_whole(coins, root, SHARES)


def test_a_device_that_is_not_there_is_refused_before_the_first_trial(
    quick, root, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="^battery.device must be one that torch sees; "):
        run(replace(quick, battery=replace(quick.battery, device="cuda")), root)
    assert not (root / "studies").exists()


def test_a_store_that_is_none_is_refused_before_the_first_trial(
    coins, tmp_path, monkeypatch
) -> None:
    begun = breaks(monkeypatch, coins, lambda *_: None)
    (tmp_path / "mlflow.db").mkdir()
    with pytest.raises(StorageError, match="^MLflow store .*directory"):
        run(coins, tmp_path)
    (tmp_path / "mlflow.db").rmdir()
    (tmp_path / "mlflow.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(StorageError, match="^MLflow store .*not a database"):
        run(coins, tmp_path)
    assert begun == [] and not (tmp_path / "studies/coins/trials").exists()


def test_another_driver_made_the_tables_of_a_database_meanwhile(tmp_path, monkeypatch) -> None:
    url, asked, made = f"sqlite:///{tmp_path / 'o.db'}", [], optuna_storage.RDBStorage

    def late(url: str, **options):
        asked.append(url)
        if len(asked) < 3:
            said = ("table studies already exists", "UNIQUE constraint failed: alembic_version.x")
            raise OperationalError("CREATE", {}, Exception(said[len(asked) - 1]))
        return made(url, **options)

    monkeypatch.setattr(optuna_storage, "RDBStorage", late)
    assert optuna_storage._database(url).get_all_studies() == [] and len(asked) == 3


def test_a_study_that_is_named_60_times_is_reported_once(coins, root: Path, monkeypatch) -> None:
    run(coins, root)
    once = publish(["coins"], root).text
    read = []
    monkeypatch.setattr(Front, "read", lambda path, _r=Front.read: read.append(path) or _r(path))
    assert publish(["coins"] * 60, root).text == once
    assert len(read) <= 2


def test_errors_cross_the_border_of_a_process() -> None:
    class OursError(DataError):
        """Known to one process alone."""

    for error, kind in ((DivergedError("x"), DivergedError), (OursError("x"), DataError)):
        got = unpacked(**json.loads(json.dumps(packed(error))))
        assert type(got) is kind and str(got) == "x"
    unknown = unpacked(**packed(KeyError("x")))
    assert type(unknown) is FftuneError and str(unknown) == "KeyError: 'x'"
    for name in ("NoSuchError", "first_words", "dataclass", "__name__", "Exception"):
        assert unpacked(name, "x").exit_code == 1


def test_which_errors_are_of_settings() -> None:
    assert by_settings(DivergedError("x")) and by_settings(ConfigError("x"))
    for other in (DeviceError("x"), DataError("x"), MemoryError(), OSError(), KeyError("x")):
        assert not by_settings(other)
    broken = ConfigError("x")
    broken.__cause__ = OSError(errno.EMFILE, "x")
    assert not by_settings(broken)
    assert by_surroundings(KeyError("x")) is None and isinstance(ending(KeyError(1), 3), KeyError)
    assert isinstance(by_surroundings(torch.OutOfMemoryError("x")), OutOfMemoryError)
    assert isinstance(by_surroundings(mlflow.exceptions.MlflowException("x")), StorageError)
    once = ending(StorageError("x"), 3)
    assert str(ending(once, 3)) == str(once) == "x (trial 3 is left to --resume)"
    assert isinstance(once, UserError)
    for reason in ("its worker died", "[Errno 24] Too many open files", "out of memory"):
        assert not Failure(trial=0, reason=reason).by_settings
    for reason in ("loss is nan", "list index out of range"):  # of the latter nobody can tell
        assert Failure(trial=0, reason=reason).by_settings
    assert Failure(trial=0, reason="out of memory", error="DivergedError").by_settings
