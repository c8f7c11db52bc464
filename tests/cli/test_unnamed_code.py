"""A command runs the files of Python's that its words name, and none that only a record names."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fftune import named_code, registry
from fftune.cli.options import as_named
from fftune.config import BatteryConfig, ThreatModel
from fftune.config.study import kind_record
from fftune.evaluation.batteries import attacks_of
from fftune.named_code import may_run
from fftune.user_code import attribute
from tests.fuzz.kinds import CHECKPOINT, HEDGED, make
from tests.fuzz.said import Said
from tests.sweeping.coins import KIND

MARK = """
from pathlib import Path
Path(__file__).with_name("burgled").touch()
def thing(*arguments, **named):
    raise ValueError
"""
STUDY, NET = "store/studies/done/config.json", f"{CHECKPOINT}/model.json"
TRAINED, HEDGE = f"{CHECKPOINT}/config.json", f"{HEDGED}/config.json"
FEW = "--examples 4 --battery.steps 1"
RECORDS = {
    "kind of a study": (STUDY, "kind", "report done"),
    "objective of a study": (STUDY, "base.objective", "report done"),
    "net of a study": (STUDY, "base.model", "report done"),
    "data of a study": (STUDY, "base.data.name", "report done"),
    "attack of a study": (STUDY, "base.attack.search", "report done"),
    "unclamped attack of a study": (STUDY, "base.attack.search", "report done"),
    "strategy of a study": (STUDY, "strategy", "report done"),
    "battery of a study": (STUDY, "battery.name", "report done"),
    "battery of a study with a tier": (STUDY, "battery.name", "report done"),
    "attack of a hedge": (HEDGE, "base.attack.search", "report hedged"),
    "net of a hedge": (HEDGE, "base.net.factory", "report hedged"),
    "data of a hedge": (HEDGE, "base.data.name", "report hedged"),
    "net of a checkpoint": (NET, "factory", f"evaluate {CHECKPOINT} {FEW}"),
    "net of a checkpoint, examined": (NET, "factory", f"doctor {CHECKPOINT} --examples 4"),
    "net of a gallery": (NET, "factory", f"report --gallery {CHECKPOINT}"),
    "net of a study's checkpoint": (
        "store/studies/done/trials/0/checkpoint/model.json",
        "factory",
        f"evaluate done {FEW}",
    ),
    "data of a checkpoint": (TRAINED, "data.name", f"evaluate {CHECKPOINT} {FEW}"),
    "objective of a checkpoint": (TRAINED, "objective", f"evaluate {CHECKPOINT} --help"),
    "attack of a checkpoint": (TRAINED, "attack.search", f"evaluate {CHECKPOINT} --help"),
    "front": ("store/studies/done/front.json", "objective", "report done"),
}
"""Place of a name in a record, and a command that reads it."""
BESIDE = {
    "unclamped attack of a study": ("base.attack.threat.clamp", False),
    "battery of a study with a tier": ("battery.tier", "full"),
}
"""Other settings for which a name would be looked up."""


QUICK = {
    "kind of a study",
    "objective of a study",
    "battery of a study with a tier",
    "net of a checkpoint",
    "data of a checkpoint",
    "objective of a checkpoint",
    "attack of a checkpoint",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    make(root)
    (root / "evil.py").write_text(MARK)
    return root


@pytest.fixture
def place(whole: Path, tmp_path: Path, monkeypatch) -> Path:
    """A folder with a storage, where one is."""
    place = tmp_path / "place"
    shutil.copytree(whole, place)
    monkeypatch.setenv("FFTUNE_STORAGE", str(place / "store"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(place)
    return place


def said(line: str) -> Said:
    verb, *words = line.split()
    return Said(lambda: as_named(import_module(f"fftune.cli.{verb}").main, words))


def put(path: Path, at: str, value: Any) -> None:
    """Set a field of a JSON file."""
    data = json.loads(path.read_text())
    *ahead, last = at.split(".")
    inner = data
    for key in ahead:
        inner = inner[key]
    inner[last] = value
    path.write_text(json.dumps(data))


@pytest.mark.some(4)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in RECORDS],
)
def test_no_record_runs_a_file(name: str, place: Path) -> None:
    file, at, line = RECORDS[name]
    if name in BESIDE:
        put(place / file, *BESIDE[name])
    put(place / file, at, f"{place}/evil.py:thing")
    ended = said(line)
    ended.require_one_line()
    assert not (place / "burgled").exists(), name


def test_a_report_that_needs_code_says_how_to_name_it(place: Path) -> None:
    coins = place / "coins.py"
    coins.write_text(KIND)
    assert said(f"sweep {coins} --backend inline --trials 1").code == 0
    kind_record.cache_clear()  # as another process
    registry._LOADED.clear()
    refused = said("report coins")
    assert refused.code == 2
    assert refused.lines[0].endswith(f"if you trust it, add --code {coins}")
    assert said(f"report coins --code {coins}").code == 0
    assert said("report --code=coins.py coins").code == 0


@pytest.mark.parametrize("words", ["--code", "--code=", "--code evil.txt"])
def test_code_is_a_file(words: str, place: Path) -> None:
    refused = said(f"report done {words}")
    assert (refused.code, len(refused.lines)) == (2, 1)
    assert refused.lines[0].startswith("fftune: code must be a FILE.py")


def test_a_recipe_names_what_its_settings_name(place: Path) -> None:
    (place / "loss.py").write_text("raise ImportError('the objective ran')")
    recipe = f"""
from dataclasses import replace
from fftune import recipes
def recipe(scale):
    study = recipes.study("thrm", scale)
    return replace(study, base=replace(study.base, objective="{place}/loss.py:mine"))
"""
    (place / "mine.py").write_text(recipe)
    ended = said("sweep mine.py --backend inline")
    assert "the objective ran" in ended.lines[0]


BATTERY = """
from pathlib import Path
from fftune.config import AttackConfig
from fftune.evaluation.batteries import single

def mine(threat, config, classes):
    search = f"{Path(__file__).with_name('attack.py')}:mine"
    return [single("mine", "adversarial", "ce", AttackConfig(threat=threat, search=search))]
"""
ATTACK = """
def mine(model, x, y, *, config, goal, loss, noise, ids):
    return x.clone()
"""


def test_a_battery_names_its_attacks(place: Path) -> None:
    (place / "battery.py").write_text(BATTERY)
    (place / "attack.py").write_text(ATTACK)
    both: list[bool] = []

    def work() -> None:
        attacks_of(BatteryConfig(name="battery.py:mine"), ThreatModel())
        both.append(may_run(place / "attack.py"))

    named_code.within(["battery.py:mine"], work)
    assert both == [True]


def test_code_that_runs_may_run_more(place: Path) -> None:
    (place / "inner.py").write_text("raise ImportError('the inner file ran')")
    (place / "outer.py").write_text(
        "from pathlib import Path\nfrom fftune.user_code import attribute\n"
        "def net():\n    return attribute(Path('inner.py'), 'x')\n"
    )
    ended = said("evaluate --model outer.py:net --data digits")
    assert ended.code == 2 and "the inner file ran" in ended.lines[0]


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["a.py:f"], {"a.py"}),
        (["--model=sub/a.py:f"], {"sub/a.py"}),
        (["--space", "objective=a.py:f,b.py:g,thrm"], {"a.py", "b.py"}),
        (["--code", "it's, a=b.py"], {"it's, a=b.py", "b.py"}),
        (["./x/../a.py"], {"a.py"}),
        (["link.py:f"], {"real.py"}),
        (["net.pt", "--net=sub/net.pt"], {"net.pt", "sub/net.pt"}),
        (["a.python", "apy", "a.py.bak"], {"a.python"}),  # and not a.py
    ],
)
def test_words_name_files(words: list[str], files: set[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.py").symlink_to("real.py")
    every = {"a.py", "b.py", "sub/a.py", "it's, a=b.py", "real.py", "evil.py", "a.python"}
    every |= {"net.pt", "sub/net.pt"}
    found: set[str] = set()
    named_code.within(words, lambda: found.update(n for n in every if may_run(Path(n))))
    assert found == files


def test_python_runs_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 3")
    assert named_code.permitted() is None
    assert attribute(tmp_path / "mine.py", "x") == 3


def test_the_permission_ends_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        named_code.within([], lambda: 1 / 0 and None)
    assert named_code.permitted() is None
