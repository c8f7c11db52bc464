"""A write that fails, or a kill in its middle, costs one line and time, and nothing else."""

import os
import random
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.faults.commands import COMMANDS, SMALLEST
from tests.faults.forks import Forks
from tests.faults.plan import every, outages, seeded, sites
from tests.faults.shim import Call, Fault, compiler
from tests.faults.trial import BrokenError, Ground

SECONDS = float(os.environ.get("FFTUNE_FAULTS_SECONDS", "2400"))
"""For the longest of the slow runs, and a third for each of the three others: 40 minutes of two
cores. What they leave out for lack of time, they say."""

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="needs a C compiler, as `make setup` installs"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory, empty_mlflow) -> Iterator[Ground]:
    forks = Forks(tmp_path_factory.mktemp("forks"))
    yield Ground(forks, tmp_path_factory.mktemp("ground"), empty_mlflow)
    forks.close()


def at(kind: str, call: str, action: str, *, nth: int = 1) -> Fault:
    stays = action == "ENOSPC"
    return Fault(action=action, at=nth, call=call, kind=kind, stays=stays)


STUDY, RUN = "/store/studies/s", "/store/runs/t"
CHOSEN = [
    ("study", at(f"{STUDY}/optuna.journal", "write", "death", nth=4)),
    ("study", at(f"{STUDY}/optuna.journal", "write", "ENOSPC", nth=6)),
    ("study", at(f"{STUDY}/optuna.journal.lock", "link", "death", nth=3)),
    ("study", at(f"{STUDY}/attempts/.H.json.part", "fsync", "death", nth=2)),
    ("study", at(f"{STUDY}/trials/N/.result.json.part", "write", "death")),
    ("study", at(f"{STUDY}/trials/N/result.json", "rename", "death", nth=2)),
    ("study", at(f"{STUDY}/trials/N/.outcomes.parquet.part", "write", "ENOSPC", nth=9)),
    ("study", at("/store/mlflow.db", "pwrite", "EIO", nth=5)),
    ("study", at("/store/mlflow.db-journal", "fsync", "death", nth=3)),
    ("study", at(f"{STUDY}/.front.json.part", "fsync", "EIO")),
    ("training", at("/store/mlflow.db", "fsync", "EIO", nth=2)),
    ("training", at(f"{RUN}/states/.N-N.pt.part", "write", "death", nth=2)),
    ("training", at(f"{RUN}/states/states.json", "rename", "death", nth=2)),
    ("training", at(f"{RUN}/checkpoint/.weights.pt.part", "write", "ENOSPC")),
    ("training", at(f"{RUN}/checkpoint", "fsync", "EIO")),
    ("training", at(f"{RUN}/best/.weights.pt.part", "write", "death", nth=2)),
    ("training", at(f"{RUN}/average/model.json", "rename", "death")),
    ("evaluation", at("/store/blocks/*.parquet.part", "write", "death", nth=30)),
    ("evaluation", at("/store/mlflow.db", "fsync", "EIO")),
    ("data", at("/data/digits/.whole.beton.part", "write", "ENOSPC", nth=2)),
    ("data", at("/data/digits/whole.json", "rename", "death")),
    ("report", at(f"{STUDY}/.report.html.part", "write", "ENOSPC")),
    ("report", at("/store/mlflow.db-journal", "pwrite", "death", nth=4)),
]


@pytest.mark.parametrize(("name", "fault"), CHOSEN, ids=lambda it: getattr(it, "kind", it))
def test_a_failed_write_is_one_line_and_a_kill_is_made_good(ground: Ground, name, fault) -> None:
    case = ground.disturb(COMMANDS[name], fault)
    assert case.struck is not None, "the command makes no such call any more"
    assert case.code == -9 or fault.action != "death"


def test_every_file_is_on_disk_before_it_has_its_name(ground: Ground) -> None:
    """A rename comes after the content's fsync, and before that of the folder."""
    calls = ground.recorded(COMMANDS["training"]).calls
    renames = [i for i, call in enumerate(calls) if call.call == "rename" and RUN in call.kind]
    assert len(renames) > 5
    for i in renames:
        folder, _, name = calls[i].kind.rpartition("/")
        part = f"{folder}/.{name}.part"
        assert synced([call for call in calls[:i] if call.kind == part][-1], part)
        assert synced(next(call for call in calls[i + 1 :] if folder in call.kind), folder)


def synced(call: Call, kind: str) -> bool:
    return (call.call, call.kind) == ("fsync", kind)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "outage", "share"),
    [
        ("training", "memory", 0.3),
        ("evaluation", "memory", 0.6),
        ("study", "mlflow", 0.3),
    ],
)
def test_no_memory_and_no_server_cost_no_more(ground: Ground, name, outage, share) -> None:
    command = COMMANDS[name]
    number = round(share * ground.count(name, outage))
    assert ground.disturb(command, Fault(action=outage, at=number)).struck is not None


def whole(ground: Ground, cases: Iterable[tuple[str, Fault]], seconds: float = SECONDS / 3) -> None:
    """Try all for so many seconds, and tell of those that broke a promise."""
    broken, killed, tried, missed = [], 0, 0, 0
    for name, fault in timed(cases, seconds):
        command = SMALLEST if name == "smallest" else COMMANDS[name]
        try:
            case = ground.disturb(command, fault)
            killed += case.code == -9
            missed += case.struck is None
        except BrokenError as error:
            broken.append(f"{name} {fault}: {error}")
        tried += 1
    print(tried, "calls failed,", killed, "kills survived,", missed, "never came to their call")
    assert not broken, "\n".join([f"{len(broken)} of {tried}", *broken])


def timed(cases: Iterable[tuple[str, Fault]], seconds: float) -> Iterator[tuple[str, Fault]]:
    end = time.monotonic() + seconds
    shuffled = list(cases)
    random.Random(0).shuffle(shuffled)
    for done, case in enumerate(shuffled):
        if time.monotonic() > end:
            print(len(shuffled) - done, "of", len(shuffled), "left out for lack of time")
            return
        yield case


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_every_call_site_and_kind_of_file(ground: Ground) -> None:
    each = {name: sites(ground.recorded(command).calls) for name, command in COMMANDS.items()}
    whole(ground, ((name, fault) for name in each for fault in each[name]), SECONDS)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_a_hundred_calls_of_each_command(ground: Ground) -> None:
    each = {
        name: seeded(ground.recorded(command).calls, 100, 0) for name, command in COMMANDS.items()
    }
    whole(ground, ((name, fault) for name in each for fault in each[name]))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_death_at_every_call_of_the_smallest_study(ground: Ground) -> None:
    calls = ground.recorded(SMALLEST).calls
    whole(ground, (("smallest", fault) for fault in every(calls)))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_memory_and_servers_that_end_at_fifty_calls(ground: Ground) -> None:
    whole(ground, outages(ground.count, COMMANDS, 50, 0))
