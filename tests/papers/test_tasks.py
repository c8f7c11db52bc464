"""Tasks: what names them, and what doing them leaves."""

import json
from dataclasses import replace

import pytest

from fftune.api import evaluate
from fftune.papers import scales, tasks
from fftune.papers.declarations import Analysis, Exam, Net, Setup, Substandard
from fftune.papers.results import Results
from fftune.papers.tasks import Given, perform, read_rows, task_of, tasks_of, trained_as
from fftune.papers.zoo import ZooNet
from fftune.registry import ATTACKS
from fftune.training.checkpoint import Checkpoint
from fftune.training.run_dir import RunDir

TINY = Setup(scale="tiny")
MLP = Net(model="mlp")


def key(need, setup: Setup = TINY) -> str:
    return task_of(need, setup, {}).key


def keys_of(given: Given) -> dict[str, object]:
    """Return what an analysis is given, for a test of it."""
    nets = [spec.factory for spec in given.nets]
    return {"nets": nets, "examples": given.examples, "settings": dict(given.settings)}


def test_a_poisoned_net_hangs_on_the_natural_one() -> None:
    found = tasks_of([Exam(net=Net(kind="poisoning")), Exam(net=Net())], TINY)
    kinds = [task.kind for task in found]
    assert kinds == ["net", "data", "net", "rows", "rows"]  # the natural net once, and first
    natural, data, poisoned, of_poisoned, of_natural = found
    assert data.needs == (natural,) and poisoned.needs == (data,)
    assert of_poisoned.needs == (poisoned,) and of_natural.needs == (natural,)


def test_names_follow_all_that_decides_the_result(monkeypatch) -> None:
    exam = Exam(net=MLP)
    others = [
        replace(exam, seed=1),
        replace(exam, battery="hypocritical"),
        replace(exam, size="few"),
        replace(exam, norm="l2"),
        replace(exam, defenses=("hedge",)),
        Exam(net=replace(MLP, seed=1)),
    ]
    known = {key(exam), *map(key, others), key(exam, Setup(scale="full"))}
    assert len(known) == len(others) + 2
    assert key(exam) == key(Exam(net=Net(model="mlp", objective="thrm", lam=0)))
    before = key(exam)
    monkeypatch.setitem(scales.WIDTHS["tiny"], "mlp", 64)
    assert key(exam) != before  # by the net that it needs


@pytest.fixture
def own_file(tmp_path):
    """A function that writes FILE.py, and a helper that it imports, to a folder of this name."""

    def write(folder: str, helper: str = "K = 1\n") -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "kept_beside.py").write_text(helper)
        file = tmp_path / folder / "own.py"
        file.write_text("from kept_beside import K\ndef make(*_, lam=0.0):\n    return K\n")
        return f"{file}:make"

    return write


FORMS = {
    "published": lambda name: Exam(net=ZooNet(name="n", factory=name)),
    "objective": lambda name: Net(objective=name),
    "battery": lambda name: Exam(net=MLP, battery=name),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_the_users_counts_by_its_text_whether_it_was_run_or_not(own_file, form) -> None:
    need = FORMS[form]
    first = key(need(own_file("one")))
    ATTACKS[own_file("one")]  # which runs it
    assert key(need(own_file("one"))) == first  # else what was done would not be found
    assert key(need(own_file("two"))) == first and "one" not in first
    assert key(need(own_file("one", "K = 2\n"))) != first
    assert key(need(own_file("one"))) == first


def test_equal_declarations_have_one_name() -> None:
    """5 equals 5.0, and whichever comes first is the task of both."""
    trades = Net(objective="trades", lam=5, norm="l2")
    assert key(trades) == key(replace(trades, lam=5.0))
    assert key(replace(trades, eps=1)) == key(replace(trades, eps=1.0))
    exam = Exam(net=trades, norm="l2", eps=1)
    assert key(exam) == key(replace(exam, eps=1.0)) != key(replace(exam, eps=2))


def test_an_analysis_of_the_users_counts_by_its_code(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "own_analysis.py"
    known = set()
    for text in ("K = 1\n", "K = 2\n"):
        file.write_text(text)
        known.add(key(Analysis(run="own_analysis:f", nets=(MLP,))))
    assert len(known) == 2
    assert key(Analysis(run="__main__:f", nets=(MLP,)))


def test_a_published_net_is_judged_on_its_own_data_in_its_own_ball() -> None:
    net = ZooNet(name="n", factory="fftune:resnet18")
    others = [replace(net, eps=4 / 255), replace(net, data="cifar100"), replace(net, factory="f:g")]
    known = {key(Exam(net=one)) for one in (net, *others)}
    assert len(known) == 4
    renamed = replace(net, tables=("P2.T5",), published=(("none", "clean", 90.0),))
    assert key(Exam(net=renamed)) in known


def test_tasks_are_done_once_and_their_rows_are_those_of_evaluate(tmp_path, monkeypatch) -> None:
    exam = Exam(net=MLP, size="few")
    for task in tasks_of([exam], TINY):
        perform(task, tmp_path, device="cpu")
    task = task_of(exam, TINY, {})
    done = json.loads((task.folder(tmp_path) / "done.json").read_text())
    assert done["task"] == "risks linf of cifar10 mlp standard seed 0" and done["seconds"] > 0
    net = task_of(MLP, TINY, {}).folder(tmp_path) / "checkpoint"
    direct = evaluate(net, eps=0.15, examples=48, device="cpu")
    columns = ["id", "attack", "goal", "y", "pred_clean", "pred_pert"]
    rows = read_rows(task, tmp_path)
    assert rows.table.select(columns) == direct.outcomes.table.select(columns)
    monkeypatch.setattr(tasks, "_Worker", None)  # whatever works now would fail
    for task in tasks_of([exam], TINY):
        perform(task, tmp_path)
    results = Results(setup=TINY, root=tmp_path)
    found = results.rows(exam)
    assert found is not None and len(found) == 96
    assert results.rows(replace(exam, seed=1)) is None
    assert results.why_missing(replace(exam, seed=1)) == "it was not computed"
    spec = results.net(MLP)
    assert spec is not None and spec.weights.startswith(str(tmp_path))


def test_a_training_that_was_killed_begins_anew_with_other_threads(tmp_path, monkeypatch) -> None:
    """It was killed between its last net and the mark that it is done."""
    (task,) = tasks_of([replace(MLP, kind="naive")], TINY)

    def killed(folder: RunDir, checkpoint: Checkpoint) -> None:
        finish(folder, checkpoint)
        raise KeyboardInterrupt

    finish = RunDir.finish
    monkeypatch.setattr(RunDir, "finish", killed)
    with pytest.raises(KeyboardInterrupt):
        perform(task, tmp_path, device="cpu")
    assert (task.folder(tmp_path) / "checkpoint").is_dir() and not task.is_done(tmp_path)
    monkeypatch.setattr(RunDir, "finish", finish)
    perform(task, tmp_path, device="cpu", threads=2)
    config = json.loads((task.folder(tmp_path) / "checkpoint" / "config.json").read_text())
    assert task.is_done(tmp_path) and config["threads"] == 2


def test_substandard_data_lie_in_the_task_that_made_them(tmp_path) -> None:
    net = replace(MLP, kind="mislabeling")
    data, training = tasks_of([net], TINY)
    perform(data, tmp_path)
    config = trained_as(training, tmp_path)
    place = data.folder(tmp_path) / "digits-mislabeling"
    assert config.data.name == f"folder:{place}" and (place / "train.beton").is_file()
    perform(training, tmp_path, device="cpu")
    results = Results(setup=TINY, root=tmp_path)
    found = results.data(Substandard(data="cifar10", kind="mislabeling", model="mlp"))
    assert found is not None and found.name == config.data.name


@pytest.mark.slow
def test_an_analysis_is_given_its_nets_images_and_settings(tmp_path) -> None:
    analysis = Analysis(
        run=f"{__name__}:keys_of", nets=(MLP, replace(MLP, seed=1)), settings=(("k", 3),)
    )
    for task in tasks_of([analysis], TINY):
        perform(task, tmp_path, device="cpu")
    found = Results(setup=TINY, root=tmp_path).analysis(analysis)
    assert found == {
        "nets": ["fftune:mlp", "fftune:mlp"],
        "examples": 48,
        "settings": {"k": 3},
    }


def test_a_failed_task_leaves_no_mark(tmp_path) -> None:
    analysis = Analysis(run=f"{__name__}:nothing", nets=(MLP,))
    net, task = tasks_of([analysis], TINY)
    perform(net, tmp_path, device="cpu")
    with pytest.raises(AttributeError):
        perform(task, tmp_path)
    assert not task.is_done(tmp_path)
