"""The folder of a view: what it holds, what it replaces, and that nothing in it is code."""

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_rows import kept, made, saved

from fftune import recipes
from fftune.cli.train import parsed
from fftune.cli.train_command import train_command
from fftune.cli.view import main
from fftune.config import TrainConfig
from fftune.errors import ConfigError, DataError, StorageError, UserError
from fftune.evaluation.saved_images import SavedImages
from fftune.viewer import pictures, view
from fftune.viewer.folder import script_json
from fftune.viewer.pictures import magnified
from fftune.viewer.view import view_rows, view_study

OLD = Path(__file__).parents[1] / "fixtures/v0_1_0"
Y, CLEAN = [0, 0, 1, 1], [0, 1, 1, 0]
SAYS = {
    ("pgd-2", "adversarial"): [1, 1, 1, 0],
    ("pgd-2", "hypocritical"): [0, 0, 1, 0],
}
EVIL = "</script><img src=x onerror=alert(1)>"


def data_of(file: Path) -> dict[str, Any]:
    """What a data file assigns."""
    text = file.read_text()
    found = re.fullmatch(r"FFTUNE\.\S+ = (.*);\n", text, re.DOTALL)
    assert found, text[:80]
    return json.loads(found[1])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return kept(made(Y, CLEAN, SAYS), tmp_path / "rows.parquet", ("cat", "dog"))


def test_a_view_of_rows_holds_them_and_needs_nothing_else(rows: Path) -> None:
    page = view_rows(rows)
    folder = page.parent
    assert page == rows.parent / "rows-view/index.html"
    net, shown = data_of(folder / "net-0.js"), data_of(folder / "data.js")
    assert (net["ids"], net["y"], net["names"]) == (
        [0, 1, 2, 3], Y, ["cat (class 0)", "dog (class 1)"]
    )  # fmt: skip
    assert shown["title"] == "a net"
    assert "a net is right on 50.0 % (15.0 to 85.0), n = 4 clean images" in shown["sentences"][0]
    assert "some attack conceals 50.0 % (9.5 to 90.5), n = 2" in shown["sentences"][0]
    rate = next(row for row in shown["rates"] if row[:2] == ["none", "pgd-2 hypocritical"])
    assert rate[3] == [0.5, "50.0 % (9.5 to 90.5), n = 2"]
    html = page.read_text()
    for name in re.findall(r'(?:src|href)="([^"]+)"', html):
        assert (folder / name).is_file(), name
    everything = "".join(file.read_text() for file in folder.iterdir())
    assert not re.findall(r"https?://", everything)
    assert "innerHTML" not in everything and "insertAdjacentHTML" not in everything


def test_a_view_is_replaced_and_nothing_else_is(rows: Path, tmp_path: Path) -> None:
    for _ in range(2):
        page = view_rows(rows)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match="mine' is no view and would be replaced: .*--out"):
        view_rows(rows, out=mine)
    assert [file.name for file in mine.iterdir()] == ["thesis.tex"]
    assert not list(page.parent.parent.glob(".*part"))
    (page.parent / "notes.txt").write_text("x")
    with pytest.raises(StorageError, match="holds 'notes.txt', which is no part of a view and"):
        view_rows(rows)
    assert (page.parent / "notes.txt").exists() and page.exists()


def test_names_are_data_and_never_code(tmp_path: Path) -> None:
    outcomes = made(Y, CLEAN, {("pgd <b>&", "adversarial"): [1, 1, 1, 0]})
    rows = kept(outcomes, tmp_path / "rows.parquet", (EVIL, "dog"), net=EVIL)
    folder = view_rows(rows).parent
    for file in ("data.js", "net-0.js"):
        text = (folder / file).read_text()
        assert not set("<>&") & set(text)
        assert text.isascii()
    assert data_of(folder / "net-0.js")["names"][0] == f"{EVIL} (class 0)"
    assert json.loads(script_json({"a": "\u2028</script>"})) == {"a": "\u2028</script>"}


def test_saved_images_are_shown_with_their_difference(rows: Path, tmp_path: Path) -> None:
    columns = {"y": Y, "pred_clean": CLEAN, "pred": SAYS["pgd-2", "adversarial"]}
    saved(tmp_path / "images", [0, 1, 2, 3], columns)
    folder = view_rows(rows, saved=tmp_path / "images").parent
    found = data_of(folder / "net-0.js")["pictures"]
    assert list(found) == ["1", "0", "3", "2"] or set(found) == {"0", "1", "2", "3"}
    (one,) = found["1"]
    assert (one["attack"], one["goal"], one["pred"]) == ("pgd-2", "adversarial", 1)
    assert one["most"] == pytest.approx(0.1, abs=1e-6)
    assert one["times"] == pytest.approx(5, abs=1e-3)
    for which in ("clean", "perturbed", "difference"):
        assert (folder / one[which]).read_bytes().startswith(b"\x89PNG")
    assert data_of(folder / "data.js")["notes"] == []


def test_images_of_another_net_are_not_shown(rows: Path, tmp_path: Path) -> None:
    columns = {"y": Y, "pred_clean": CLEAN, "pred": [0, 1, 1, 0]}  # image 0 is not fooled here
    saved(tmp_path / "images" / "a-net", [0, 1, 2, 3], columns)
    folder = view_rows(rows, saved=tmp_path / "images").parent
    assert set(data_of(folder / "net-0.js")["pictures"]) == {"1", "2", "3"}
    (note,) = data_of(folder / "data.js")["notes"]
    assert note.startswith("a net: 1 of 4 perturbed images are not shown, as no row has")


def test_pictures_end_where_the_room_does(rows: Path, tmp_path: Path, monkeypatch) -> None:
    columns = {"y": Y, "pred_clean": CLEAN, "pred": SAYS["pgd-2", "adversarial"]}
    saved(tmp_path / "images", [0, 1, 2, 3], columns)
    monkeypatch.setattr(pictures, "LARGEST", 1)
    folder = view_rows(rows, saved=tmp_path / "images").parent
    assert len(data_of(folder / "net-0.js")["pictures"]) == 1
    assert data_of(folder / "data.js")["notes"] == [
        "3 perturbed images are not shown: they have no room."
    ]


def test_saved_images_are_read_as_they_were_written(tmp_path: Path) -> None:
    columns = {"y": [0, 1], "pred_clean": [0, 1], "pred": [1, 0]}
    saved(tmp_path, [10, 11], columns)
    found = SavedImages.read(tmp_path)
    assert [row.file for row in found.rows] == [
        "pgd-2-adversarial/10.png",
        "pgd-2-adversarial/11.npz",
    ]
    (x, rounded), (y, exact) = map(found.pair, found.rows)
    assert torch.equal(x, torch.full((3, 4, 4), 50 / 255))
    assert torch.equal(y, torch.full((3, 4, 4), 51 / 255))
    assert torch.equal(exact, y + 0.1)  # to the bit
    assert float((rounded - x - 0.1).abs().max()) <= 0.501 / 255


@pytest.mark.parametrize("name", ["../../x.png", "/etc/passwd", "a/../b.png", "a/b.txt", ""])
def test_no_file_outside_of_the_folder_is_read(tmp_path: Path, name: str) -> None:
    saved(tmp_path, [10], {"y": [0], "pred_clean": [0], "pred": [1]})
    index = tmp_path / "index.csv"
    index.write_text(index.read_text().replace("pgd-2-adversarial/10.png", name))
    with pytest.raises(DataError, match="index of saved images .* is no file of its folder"):
        SavedImages.read(tmp_path)


def test_a_difference_is_magnified_about_grey() -> None:
    change = torch.tensor([[[0.0, 0.02, -0.04]]])
    assert magnified(change).flatten().tolist() == pytest.approx([0.5, 0.75, 0.0])
    assert magnified(0 * change).flatten().tolist() == [0.5] * 3


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("old")
    with tarfile.open(OLD / "store.tar.xz") as archive:
        archive.extractall(root, filter="data")
    return root / "store/studies"


def test_a_view_of_a_study_has_its_front_its_rates_and_its_images(studies: Path) -> None:
    folder = view_study(studies, "done", trained=train_command, count=3).parent
    page = data_of(folder / "data.js")
    assert folder == studies / "done/view"
    assert [trial["trial"] for trial in page["trials"]] == [0, 1]
    first = page["trials"][0]
    assert first["settings"] == [["lam", "0"]]
    assert first["rates"][0][0] == "natural risk"
    assert first["rates"][0][1] == [0.95, "95.0 % (76.4 to 99.1)"]
    assert first["at"] == [[0.95, pytest.approx(1 / 19)]]
    assert first["nets"] == [0] and page["trials"][1]["nets"] == [1]
    net = data_of(folder / "net-0.js")
    shown = {
        i: [(p["attack"], p["goal"], p["pred"]) for p in ps] for i, ps in net["pictures"].items()
    }
    assert 1 <= len(shown) <= 3
    for i, found in shown.items():
        row = net["ids"].index(int(i))
        for attack, goal, pred in found:
            (said,) = [a for a in net["views"][0]["attacks"]
                       if (a["name"], a["goal"]) == (attack, goal)]  # fmt: skip
            assert said["pred"][row] == pred
    used = dict(first["commands"])["use it, in Python"]
    scope: dict[str, Any] = {}
    exec(used, scope)
    assert scope["net"](torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_nets_of_the_front_have_room_first(studies: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(view, "LARGEST", 1)
    out = tmp_path / "small"
    page = data_of(view_study(studies, "done", trained=lambda _: "", out=out).parent / "data.js")
    assert page["notes"] == ["1 nets are not shown image by image: no room."]
    assert next(trial["nets"] for trial in page["trials"] if trial["front"]) == [0]
    assert len(list(out.glob("net-*.js"))) == 1


def test_rows_of_old_hedges_are_told_and_left_out(studies: Path) -> None:
    folder = view_study(studies, "hedged", trained=train_command).parent
    page = data_of(folder / "data.js")
    assert any("schema 1" in note for note in page["notes"])
    assert len(page["figures"]) == 2
    with pytest.raises(
        ConfigError, match="images must be a folder or left out for a study of kind"
    ):
        view_study(studies, "hedged", trained=train_command, count=3)


@pytest.mark.parametrize(
    ("objective", "scale"), [("thrm", "tiny"), ("standard", "tiny"), ("trades", "small")]
)
def test_the_printed_command_trains_the_same_net(objective: str, scale: str) -> None:
    config = recipes.training(objective, recipes.Basis(scale=scale))
    optimizer = replace(config.optimizer, epochs=7, lr=0.0123, batch_size=50)
    lam = 12.5 if config.lam else 0.0
    check_command(replace(config, lam=lam, seed=3, optimizer=optimizer))


def check_command(config: TrainConfig) -> None:
    command = train_command(config)
    assert command.startswith("fftune train ")
    again = parsed(command.split()[2:])
    assert again is not None and again.config == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "STUDY is missing"),
        (["nothing"], "study 'nothing' has no front"),
        (["{rows}", "--images", "5"], "images must be a folder of saved images for rows, got '5'"),
        (["{rows}", "--images", "0"], "images must be >= 1, got '0'"),
        (["{rows}", "--images", "{tmp}/no"], "index of saved images .*no/index.csv"),
        (["{tmp}/bad.parquet"], "outcomes .*bad.parquet. is damaged"),
    ],
)
def test_mistakes_are_one_line(rows: Path, tmp_path: Path, monkeypatch, words, message) -> None:
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path))
    (tmp_path / "bad.parquet").write_text("x")
    with pytest.raises(UserError, match=message) as told:
        main([word.format(rows=rows, tmp=tmp_path) for word in words])
    assert "\n" not in str(told.value)


def test_the_command_prints_the_address(rows: Path, capsys) -> None:
    main([str(rows), "--out", str(rows.parent / "here")])
    assert capsys.readouterr().out == f"{(rows.parent / 'here/index.html').as_uri()}\n"
