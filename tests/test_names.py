"""Names stay inside their folder, and do nothing to a terminal, a filter or a shell."""

import shlex
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fftune.cli.train import Train
from fftune.config import SweepConfig, TrainConfig
from fftune.data.data_form import Place
from fftune.data.dataset import Source
from fftune.data.sources.folders import class_folders
from fftune.errors import ConfigError, DataError
from fftune.names import LONGEST, is_label, is_plain, joined_name, plain_name, require_name

OUTSIDE = [
    *("", ".", "..", "../../x", "/x", "a/b", "a\\b", "..\\x", ".hidden", "-rf", "--resume"),
    *("a\nb", "a\rb", "a\tb", "a\0b", "\x1b[2J", "a b", "a ", "\u202ea", "a\u200bb", "\ufeffa"),
    *("victim' and tags.`x` = 'y", "bob's", 'a"b', "a`b`", "$(id)", "a;b", "a|b", "a&b", "a>b"),
    *(
        "%2e%2e%2fx",
        "~",
        "~root",
        "*",
        "a?b",
        "<b>",
        "a:b",
        "NUL:",
        "http://x",
        "x" * (LONGEST + 1),
    ),
    "é" * (LONGEST // 2 + 1),
]
INSIDE = ["thrm-tiny", "a", "7", "_x", "a.b_c-d", "münchen", "数据", "x" * LONGEST, "a..b"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_is_no_name_is_one_for_nobody(name: str) -> None:
    for make in (lambda: SweepConfig(name=name), lambda: Train(name=name)):
        with pytest.raises(ConfigError, match=r"^name must be letters") as refused:
            make()
        assert str(refused.value).isprintable() and len(str(refused.value)) < 300


@pytest.mark.parametrize("name", INSIDE)
def test_what_is_a_name(name: str) -> None:
    assert SweepConfig(name=name).name == Train(name=name).name == name


def test_a_name_is_the_same_however_its_accents_are_written() -> None:
    apart = unicodedata.normalize("NFD", "café")
    assert apart != "café"
    assert SweepConfig(name=apart).name == Train(name=apart).name == "café"


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=LONGEST))
def test_any_name_that_is_taken_is_a_file_of_that_folder(tmp_path_factory, text: str) -> None:
    made = plain_name(text)
    assert is_plain(made) and require_name("name", made) == made
    try:
        name = require_name("name", text)
    except ConfigError:
        return
    root = Path("/storage/runs")
    assert (root / name).resolve().parent == root
    assert shlex.quote(name) == name or not name.isascii()
    assert len(f".{name}.html.part".encode()) <= 255


def test_runs_are_named_by_their_settings_and_no_longer_than_a_file() -> None:
    from fftune.cli.train import Settings, _Name, _name

    assert _name("thrm", Settings()) == "thrm-tiny"
    assert _name("a/b/mine.py:loss", Settings(seed=3)) == "loss-tiny-seed-3"
    data = _Name(name="folder:/home/me/" + "deep/" * 100)
    assert is_plain(_name("thrm", Settings(data=data)))


def test_a_run_of_another_name_is_refused_from_python_too(tmp_path: Path) -> None:
    from fftune.config import Resources
    from fftune.training.tracked import train_tracked

    with pytest.raises(ConfigError, match="^name must be"):
        train_tracked(
            TrainConfig(), name="../x", root=tmp_path, resources=Resources(), resume=False
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("tench, Tinca tinca", True),
        ("bob's cat/dog & <b>", True),
        ("数据", True),
        ("", False),
        (" cat", False),
        ("a\nb", False),
        ("\x1b]0;x\x07", False),
        ("\u202etac", False),
        ("x" * 301, False),
    ],
)
def test_names_of_classes_are_shown_and_move_no_cursor(name: str, taken: bool) -> None:
    def source() -> Source:
        return Source(name="mine", classes=("a", name), mean=(0.5,), std=(0.5,))

    assert is_label(name) == taken
    if taken:
        assert source().classes == ("a", name)
        return
    with pytest.raises(DataError, match=r"^data set 'mine': .* cannot be the name of a class"):
        source()


def images(root: Path, *classes: str) -> None:
    from PIL import Image

    for name in classes:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(root / name / "1.png")


def test_classes_of_two_machines_are_the_same(tmp_path: Path) -> None:
    """A Mac wrote one part's folders in NFD."""
    apart = unicodedata.normalize("NFD", "café")
    images(tmp_path / "train", "café", "tea")
    images(tmp_path / "test", apart, "tea")
    parts = class_folders(Place(path=tmp_path))
    assert parts["train"].source.classes == parts["test"].source.classes == ("café", "tea")
    assert parts["test"].y.tolist() == [0, 1]
    images(tmp_path / "train", apart)
    with pytest.raises(DataError, match="two class folders of one name"):
        class_folders(Place(path=tmp_path))


def test_an_experiment_is_one_line() -> None:
    for name in ("", "a\nb", "x" * 301, " a"):
        with pytest.raises(ConfigError, match="^experiment must be a printable line"):
            SweepConfig(experiment=name)
    assert SweepConfig(experiment="bob's, eps 8/255").experiment == "bob's, eps 8/255"


def test_a_report_of_many_studies_has_a_name_of_its_own() -> None:
    assert joined_name(["a", "b"]) == "a+b"
    many = [f"thrm-tiny-{n}" for n in range(60)]
    assert len(joined_name(many)) <= LONGEST
    assert joined_name(many) != joined_name(many[:-1])
