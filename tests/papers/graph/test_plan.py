"""Costs of a plan: hand counts of the tables, and what is refused before anything starts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fftune.errors import DataError, StorageError
from fftune.papers.declarations import Exam, Net, Setup, Substandard
from fftune.papers.graph import plan as plan_module
from fftune.papers.graph.costs import cost_of, inputs_of, weights_of
from fftune.papers.graph.plan import Plan, absent_weights, dry_run, listing, require_weights
from fftune.papers.graph.schedule import left, wanted
from fftune.papers.reproduce import keys_of
from fftune.papers.tasks import task_of
from fftune.papers.zoo import packaged_zoo, taken_as_here

ITEMS = "tests/papers/paper_items.py"
FULL = Setup(scale="full")


def nets_of(keys: Sequence[str]) -> list[Net]:
    items = wanted(keys_of(keys, ["P1.T*", "P1.F*"]), FULL)  # future work is no table
    assert [one.error for one in items if one.error] == []
    tasks = {task.key: task for one in items for task in one.tasks}
    return [task.need for task in tasks.values() if isinstance(task.need, Net)]


def test_trainings_of_all_tables_are_as_many_as_by_hand() -> None:
    """Tao et al. 2022, all of it at full scale, counted from its tables.

    - Tables 1, 5 and 6: MLP, VGG-16 and WRN-28-10 on 4 kinds of data that train; l_2 has
      poisons of its own, and nothing else: 3 x 4 x 5 + 3 x 1 x 5 = 75.
    - Tables 2 and 7: ResNet-18 on SVHN, CIFAR-100 and Tiny-ImageNet: 3 x 4 x 5 = 60.
    - Tables 3, 8 and 9, figures 3 and 5: PGD-AT and TRADES with lambda 6 on Poisoning and Quality
      data of four sets: 2 x 2 x 4 x 5 = 80. Natural nets of three of the sets are table 7's; on
      CIFAR-10 they are 2 x 5 = 10.
    - Figure 2, table 4: on CIFAR-10 ResNet-18 of one seed on Noise and Mislabeling: 2. Figure 1's
      net is one of them, and Poisoning and Quality are table 8's.
    - Tables 10 to 13, figures 4, 6 and 7: eight lambdas above 0 of two objectives on four sets:
      8 x 2 x 4 = 64; those of lambda 0 are natural nets of seed 0. Table 14 has none of its own:
      THRM's 40 is table 10's, TRADES' 6 table 8's.
    - Table 16: 2.
    """
    by_hand = 75 + 60 + 80 + 10 + 2 + 64 + 2
    nets = nets_of(["P1"])
    trained = [net for net in nets if net.kind != "naive"]
    assert len(trained) == by_hand == 293
    # Nets as they are initialised: five seeds of the same six cases, and figure 2's.
    assert len(nets) - len(trained) == 3 * 5 + 3 * 5 + 1
    assert Counter(net.objective for net in trained) == {
        "standard": 60 + 15 + 60 + 10 + 2,
        "pgd_at": 40,
        "trades": 40 + 32,
        "thrm": 32,
        "linf_dist": 2,
    }


@pytest.mark.slow
def test_passes_of_a_training_are_those_of_the_paper() -> None:
    """110 epochs of 50,000 images, ten steps of crafting and a joint step of both halves."""
    task = task_of(Net(objective="trades", lam=6.0), FULL, {})
    (load,) = cost_of(task).loads
    seen = 110 * 50_000
    work = load.training
    assert (work.forwards, work.crafts, work.joints) == (seen, 10 * seen, 2 * seen)
    assert load.each.forward == pytest.approx(2 * 0.556e9, rel=0.01)  # ResNet-18's products
    assert cost_of(task).bytes == pytest.approx(4 * 11.17e6, rel=0.01)


def test_passes_of_an_evaluation() -> None:
    """Twice 20 steps and the clean and perturbed predictions, on 10,000 images."""
    task = task_of(Exam(net=Net()), FULL, {})
    (load,) = cost_of(task).loads
    assert load.evaluation.crafts == 2 * 20 * 10_000
    assert not load.training.joints


def test_a_poison_is_kept_twice() -> None:
    task = task_of(Substandard(data="cifar10", kind="poisoning"), FULL, {})
    assert cost_of(task).bytes == (2 * 50_000 + 10_000) * 3 * 32 * 32


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("digits-rotated", (1, 8, 8), 40),
        ("digits-enlarged-poisoning-l2", (1, 32, 32), 10),
        ("cifar100-noise", (3, 32, 32), 100),
        ("tiny-imagenet", (3, 64, 64), 200),
        ("imagenet-phase2", (3, 288, 288), 1000),
    ],
)
def test_inputs_are_known_without_the_data(name: str, shape: tuple[int, ...], classes: int) -> None:
    found = inputs_of(name)
    assert (found.shape, found.classes) == (shape, classes)


def test_a_dry_run_needs_no_data_and_says_where_they_go(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "data"))
    plan = Plan.of(wanted(keys_of(["P1.T10", "P1.T14"]), FULL), "full")
    text = dry_run(plan, tmp_path, "h100", 64)
    first, second, together = (line.split() for line in text.splitlines()[1:4])
    # T14 shares lambda 0 and 40; its Naive, PGD-AT and TRADES of lambda 6 are its own.
    assert first[:7] == ["P1.T10", "34", "2", "17", "0", "17", "0"]
    assert second[:7] == ["P1.T14", "10", "2", "5", "0", "5", "0"]
    assert together[:6] == ["together", "42", "20", "0", "22", "0"]
    assert "19 trainings, and 1 nets as they are initialised" in text
    assert "2 tasks are saved, as items share them; 0 are done" in text
    assert "on 64 H100s" in text
    assert "data set 'cifar10' (60,000 images, 0.18 GB" in text
    assert f"'{tmp_path}/data/cifar10'; P1.T10, P1.T14 need it" in text


@pytest.mark.slow
def test_a_dry_run_plans_published_nets_whose_weights_are_not_here(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    planned = replace(FULL, zoo=taken_as_here("full", ()))
    (table,) = wanted(["P2.T1"], planned)
    exams = [task.need for task in table.asked]
    assert len(exams) == 9  # eight published nets, and an AT of one's own
    line = absent_weights(["P2.T1", "P1.T10"], FULL)
    assert line.startswith("weights of 8 published nets (about 2.1 GB) are not there: Gowal2020")
    assert f"({tmp_path}/weights/cifar10/Linf/Gowal2020Uncovering_70_16_extra.pt)" in line
    assert line.endswith("; P2.T1 need them")
    with pytest.raises(DataError, match="--partial leaves their rows empty"):
        require_weights(["P2.T1"], FULL)
    require_weights(["P1.T10", "P2.F1"], FULL)
    require_weights(["P2.T1"], Setup())  # stand-ins are trained


@pytest.mark.slow
def test_published_nets_cost_what_they_are() -> None:
    """WideResNet-70-16 has 38.8 giga products and 267 million weights."""
    nets = {net.name: net for net in packaged_zoo() if net.data == "cifar10"}
    large = nets["Gowal2020Uncovering_70_16_extra"]
    assert weights_of(large) == pytest.approx(4 * 267e6, rel=0.01)
    exam = Exam(net=replace(large, weights=""), battery="risks")
    (load,) = cost_of(task_of(exam, FULL, {})).loads
    assert load.each.forward == pytest.approx(2 * 38.8e9, rel=0.01)


def test_an_evaluation_costs_what_its_attacks_do() -> None:
    """FastAT's: ten restarts of 10, 50 and 100 steps. Of these three and of random starts 3 draws
    behind 20 steps, of clean images 6. Or one of the three, and the attack that knows of the hedge:
    a hedge at each of its 10 x 100 steps."""
    exam = Exam(net=Net(data="cifar10"), battery="fast_at", defenses=("hedge",), size="few")
    (load,) = cost_of(task_of(exam, FULL, {})).loads
    assert load.evaluation.crafts == 10_000 * (10 * (10 + 50 + 100) + (4 * 3 + 6) * 20)
    few = replace(exam, attacks=("pgd-10", "aware-hedge"))
    (load,) = cost_of(task_of(few, FULL, {})).loads
    assert load.evaluation.crafts == 10_000 * (10 * 10 + 10 * 100 * (20 + 1) + (3 * 3 + 6) * 20)


def test_absent_data_are_one_line_before_anything_starts(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "data"))
    plan = Plan.of(wanted([f"{ITEMS}:SIZES"], FULL), "full")
    with pytest.raises(DataError) as refused:
        plan.require_data(plan.tasks)
    message = str(refused.value)
    assert "'cifar10'" in message and "SIZES" in message and "0.18 GB" in message
    assert str(tmp_path / "data/cifar10") in message and "\n" not in message


def test_a_small_disk_is_one_line(tmp_path, monkeypatch) -> None:
    plan = Plan.of(wanted([f"{ITEMS}:TABLE"], Setup()), "tiny")
    monkeypatch.setattr(plan_module.shutil, "disk_usage", lambda _: Usage(free=10**8))
    with pytest.raises(StorageError, match=r"has 0\.1 GB free, and the .* tasks ahead leave about"):
        plan.require_room(plan.tasks, tmp_path, at_once=2)
    plan.require_room([], tmp_path, at_once=2)  # nothing is left to do


class Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_list_tells_cost_and_state(tmp_path) -> None:
    items = wanted([f"{ITEMS}:TABLE", f"{ITEMS}:SIZES", "P1.T15"], Setup())
    first = items[1].asked[1]
    first.folder(tmp_path).mkdir(parents=True)
    (first.folder(tmp_path) / "done.json").touch()
    lines = listing(Plan.of(items, "tiny"), tmp_path).splitlines()
    assert lines[0].split() == ["key", "about", "state", "what", "it", "is"]
    assert "1 of 3" in lines[1] and "1 of 2" in lines[2] and "needs no task" in lines[3]
    assert left(items[1].asked, tmp_path)[-1] is items[1].asked[0]
