"""A folder of photographs as it lies on somebody's disk, and what is said of it."""

import logging
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fftune.cli.data import main
from fftune.config import DataSpec, WriteConfig
from fftune.config.data import of_another
from fftune.data import load, origin
from fftune.data.catalog import open_parts
from fftune.data.conversion import Conversion, convert
from fftune.data.sources import folders
from fftune.errors import DataError
from fftune.evaluation.question import questions_of


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    origin.tell.cache_clear()
    folders._say_left_out.cache_clear()


def photograph(path: Path, mode: str = "RGB", size=(60, 40), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two classes: suffixes, modes and folders of every kind, and what systems leave behind."""
    root = tmp_path / "my photos"
    turned = Image.Exif()
    turned[0x0112] = 6
    photograph(root / "cats/IMG_1.JPG", format="JPEG", exif=turned)
    photograph(root / "cats/IMG_2.jpeg", "L")
    photograph(root / "cats/print.jpg", "CMYK")
    photograph(root / "cats/2019/summer/IMG_10.png", "RGBA")
    photograph(root / unicodedata.normalize("NFD", "hündchen/süß.png"), "P", transparency=3)
    photograph(root / unicodedata.normalize("NFD", "hündchen/scan.tif"))
    photograph(tmp_path / "elsewhere/linked.webp")
    (root / unicodedata.normalize("NFD", "hündchen") / "linked").symlink_to(tmp_path / "elsewhere")
    for junk in ("cats/Thumbs.db", "cats/.DS_Store", ".picasa.ini", "cats/._IMG_1.JPG", "notes.md"):
        (root / junk).write_bytes(b"\0junk")
    for folder in ("__MACOSX/cats", ".Trash-1000", "@eaDir"):
        (root / folder).mkdir(parents=True)
    return root


def test_an_album_is_read_whole(album: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        data = load(DataSpec(name=f"folder:{album}", image_size=32), "test")
    assert data.source.classes == ("cats", "hündchen")
    assert data.y.tolist() == [0, 0, 0, 0, 1, 1, 1] and data.shape == (3, 32, 32)
    for words in (
        f"folder:{album} is class folders in {str(album)!r}",
        "8 files that are no image of a class are left out",
        "7 images of 2 classes",
        "no official parts, so all of them are the test split",
        "the shorter side made 37 and the central 32 x 32 pixels taken",
    ):
        assert words in data.origin and words in caplog.text
    for words in (
        "1 grey images became colour",
        "1 images have an orientation in EXIF, which is not heeded, as torchvision does not",
        "2 images have transparency, which is not heeded",
        "1 images have inks of CMYK",
    ):
        assert words in data.origin and words in caplog.text


def test_pixels_are_those_of_torchvisions_folder(album: Path) -> None:
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    for junk in ("__MACOSX", ".Trash-1000", "@eaDir"):
        os.system(f"rm -r '{album / junk}'")
    cut = transforms.Compose([transforms.Resize(37), transforms.CenterCrop(32)])
    (album / "cats/._IMG_1.JPG").unlink()
    theirs = ImageFolder(album, transform=cut)
    data = load(DataSpec(name=f"folder:{album}", image_size=32), "test")
    expected = sorted(np.asarray(image).tobytes() for image, _ in theirs)
    assert sorted(x.permute(1, 2, 0).numpy().tobytes() for x in data.pixels) == expected


def test_both_forms_of_a_name_have_one_id_and_hash(tmp_path: Path) -> None:
    """A zip from a Mac, unpacked on Linux, is the same data set, in whatever order it is listed."""
    names = ["e.png", "é.png", "f.png", "z.png", "ü 2.png", "ü 10.png"]
    for form in ("NFC", "NFD"):
        for name in reversed(names) if form == "NFD" else names:
            for label in ("café", "naïve"):
                place = unicodedata.normalize(form, f"{label}/{name}")
                path = tmp_path / form / place
                path.parent.mkdir(parents=True, exist_ok=True)
                level = names.index(name) + 10 * len(label)
                Image.new("RGB", (4, 4), (level, level, level)).save(path)
    one, two = (load(DataSpec(name=f"folder:{tmp_path}/{form}"), "test") for form in ("NFC", "NFD"))
    assert one.hash() == two.hash() and one.source.classes == two.source.classes


def test_an_order_that_hangs_on_the_form_is_told(tmp_path: Path, caplog) -> None:
    """Classes are ImageFolder's on this disk, where `é` in two characters sorts before `f`."""
    for name in ("cafe", "caf\u00e9", "cafz"):
        photograph(tmp_path / "set" / unicodedata.normalize("NFD", name) / "0.png")
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    assert part.source.classes == ("cafe", "café", "cafz") and "form NFD" in part.origin
    assert "classes in the order of names in Unicode's form NFD" in caplog.text


def test_bad_photographs_are_counted_and_can_be_left_out(album: Path, tmp_path: Path) -> None:
    whole = photograph(album / "cats/a.jpg").read_bytes()
    for name in ("IMG_3", "IMG_4", "IMG_5"):
        (album / f"cats/{name}.jpg").write_bytes(whole[: len(whole) // 2])
    (album / "cats/gone.jpg").symlink_to(album / "nowhere.jpg")
    name = f"folder:{album}"
    with pytest.raises(DataError) as caught:
        load(DataSpec(name=name, image_size=32), "test")
    line = str(caught.value)
    assert "IMG_3.jpg' cannot be decoded: image file is truncated" in line and "\n" not in line
    assert (
        "nor can 3 of the next" in line
        and f"fftune data write '{name}' --image-size 32 --skip-bad" in line
    )
    sizes = WriteConfig(skip_bad=True, image_size=32)
    job = Conversion(name=name, spec=DataSpec(name=name), write=sizes, out=tmp_path / "out")
    ((_, manifest),) = convert(job)
    assert manifest.count == 8 and len(manifest.skipped) == 4


def test_photographs_of_several_sizes_name_the_flag(album: Path) -> None:
    photograph(album / "cats/large.jpg", size=(90, 70))
    with pytest.raises(DataError, match=r"large\.jpg' is 90 x 70, .*--data.image-size 224"):
        load(DataSpec(name=f"folder:{album}"), "test")


@pytest.mark.parametrize("inner", ["train", "Train", "TEST", "val", "validation"])
def test_a_class_may_have_the_name_of_a_part(tmp_path: Path, inner: str) -> None:
    for name in (inner, "bus", "car"):
        photograph(tmp_path / f"set/{name}/0.png")
        photograph(tmp_path / f"set/{name}/{'deeper/' if name == inner else ''}1.png")
    part = open_parts(f"folder:{tmp_path}/set")["whole"]
    assert part.source.classes == tuple(sorted((inner, "bus", "car"))) and len(part) == 6


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "VALID"), ("TRAIN", "dev")])
def test_parts_have_names_in_any_case(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        photograph(tmp_path / f"set/{name}/a/0.png")
    assert set(open_parts(f"folder:{tmp_path}/set")) == {"train", "test"}


def test_what_is_a_part_or_a_class_is_asked(tmp_path: Path) -> None:
    for place in ("train/steam/0.png", "train/electric/0.png", "car/0.png"):
        photograph(tmp_path / "set" / place)
    line = r"is 'train' a part, or a class beside 'car'\? Name .*set/train' for its images alone"
    with pytest.raises(DataError, match=line):
        open_parts(f"folder:{tmp_path}/set")
    assert open_parts(f"folder:{tmp_path}/set/train")["whole"].source.classes == (
        "electric",
        "steam",
    )


def test_a_test_part_without_classes_is_left_out(tmp_path: Path, caplog) -> None:
    """As in competitions, whose test images have no labels."""
    photograph(tmp_path / "set/train/a/0.png")
    photograph(tmp_path / "set/test/1.png")
    assert set(open_parts(f"folder:{tmp_path}/set")) == {"train"}
    assert "1 folders beside the official parts, 1 of them a part without classes" in caplog.text
    with pytest.raises(DataError, match="has no test part, only train; `--split train`"):
        load(DataSpec(name=f"folder:{tmp_path}/set"), "test")


def test_a_folder_around_a_data_set_is_told(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photograph(tmp_path / f"set/images/{name}/0.png")
    with pytest.raises(DataError, match=r"one folder of images, 'images', .*: name .*set/images'"):
        open_parts(f"folder:{tmp_path}/set")


@pytest.mark.parametrize("name", ["{}/", "{}", "folder:{}", "{}/../set"])
def test_a_path_needs_no_prefix(tmp_path: Path, name: str) -> None:
    photograph(tmp_path / "set/a/0.png")
    spec = DataSpec(name=name.format(tmp_path / "set"))
    assert spec.name.startswith("folder:") and load(spec, "test").source.classes == ("a",)


def test_a_set_among_those_of_fftune_goes_by_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    photograph(tmp_path / "album/a/0.png")
    assert load(DataSpec(name="album"), "test").source.name == "album"
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="the folder here is folder:album"):
        load(DataSpec(name="album"), "test")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        (
            "cifar10-poisoning",
            "`fftune data write cifar10 --kind poisoning --net CHECKPOINT` makes",
        ),
        ("digits-helped-l2", "write digits --kind helped --net CHECKPOINT --threat.norm l2` makes"),
        ("cifar10-noise", "`fftune data write cifar10 --kind noise` makes it"),
        ("imagenet-phase1", "`fftune data write imagenet --phase 1` makes it"),
        ("cifar100", "put there torchvision's cifar-100-python, or train/CLASS/IMAGE and"),
        ("tiny-imagenet", "put there train/CLASS/IMAGE and test/CLASS/IMAGE"),
    ],
)
def test_what_is_missing_names_what_makes_it(name: str, made: str) -> None:
    with pytest.raises(DataError) as caught:
        load(DataSpec(name=name), "test")
    assert made in str(caught.value) and "\n" not in str(caught.value)


ODD = {
    "folder:": "must have a path behind it",
    "folder:a\0b": "there is no folder or file",
    "folder:" + "x" * 5000: "File name too long",
    "/dev/zero": "is none of: .*class folders of images",
    "{0}/x.zip": "is none of: .*; unpack it, and name its folder",
    "{0}/photo.png": "a single image has no label: name the folder of its class folders",
    "{0}/empty": r"no class folders; expected empty/CLASS/IMAGE\.png$",
    "{0}/loop": "class folder '.*loop/again' has no images",
    "{0}/bytes": "cannot be the name of a class",
    "{0}/pipe.tar": "is a pipe",
    "{0}/nothing-*.tar": "there is no file",
    "{0}/x-{{0..99999999}}.tar": "stands for too many files",
    "{0}/bytes,classes=3": "has no use for 'classes'",
    "s3://bucket/set": "there is no folder or file",
    "uoft-cs/cifar10": "hf:uoft-cs/cifar10, which `hf download --repo-type dataset uoft-cs",
}


@pytest.mark.parametrize("name", ODD)
def test_a_path_to_something_else_is_one_line(tmp_path: Path, name: str) -> None:
    for folder in ("empty", "loop"):
        (tmp_path / folder).mkdir()
    (tmp_path / "loop/again").symlink_to(tmp_path / "loop")
    photograph(tmp_path / os.fsdecode(b"bytes/caf\xe9") / "0.png")
    os.mkfifo(tmp_path / "pipe.tar")
    for file in ("x.zip", "photo.png"):
        (tmp_path / file).write_bytes(b"PK")
    with pytest.raises(DataError, match=ODD[name]) as caught:
        load(DataSpec(name=name.format(tmp_path)), "test")
    assert "\n" not in str(caught.value)


def test_a_path_with_marks_of_patterns_is_itself(tmp_path: Path) -> None:
    for name in ("br[1]ace{a}", "a,label=b", "it's here, now"):
        photograph(tmp_path / name / "a/0.png")
        assert load(DataSpec(name=f"folder:{tmp_path}/{name}"), "test").source.name == name


def test_what_a_name_stands_for_is_in_rows_and_table(album: Path) -> None:
    from torch import nn

    import fftune as ff

    net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2))
    spec = DataSpec(name=f"{album}/", image_size=32)
    result = ff.evaluate(net, spec, eps=0.01, steps=1, examples=4)
    (question,) = questions_of(result.outcomes)
    assert question.remarks[0].startswith(f"data: folder:{album}/ is class folders in")
    assert f"data: folder:{album}/ is" in " ".join(str(result).split())  # lines end at spaces


def test_a_set_among_those_of_fftune_is_listed(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    photograph(tmp_path / "album/a/0.png")
    photograph(tmp_path / "two words/a/0.png")
    np.savez(tmp_path / "arrays.npz", x=np.zeros((3, 4, 4), np.uint8), y=[0, 1, 2])
    for empty in ("MNIST/raw", "notes"):
        (tmp_path / empty).mkdir(parents=True)
    main(["list"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {words[0]: words[1:3] for words in lines if words[0] in ("album", "arrays.npz")}
    assert found == {"album": ["1", "1"], "arrays.npz": ["3", "3"]}
    assert not {"MNIST", "notes", "two"} & {words[0] for words in lines}


def test_a_part_of_a_published_set_is_told(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path))
    for name in ("airplane", "bird"):
        photograph(tmp_path / f"cifar10/train/{name}/0.png")
    for _ in range(2):  # without a level: a dry run says it too
        load(DataSpec(name="cifar10"), "train")
    lines = [r.message for r in caplog.records if "49,998 of the 50,000" in r.message]
    assert len(lines) == 1 and "that were published are missing" in lines[0]


def test_betons_are_verified_where_a_folder_of_their_name_is_here(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("FFTUNE_DATA", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path)
    photograph(tmp_path / "album/a/0.png")
    main(["write", "album/"])
    main(["verify", "album"])
    assert f"ok {tmp_path}/sets/album/whole.beton: 1 examples" in capsys.readouterr().out


def test_sizes_of_a_recipe_are_those_of_its_own_data() -> None:
    digits = DataSpec(name="digits", train_size=100, validation_size=500)
    for name in ("digits-noise", "cifar10", "cifar10-poisoning-l2", "synthetic:classes=3"):
        assert of_another(digits, name).train_size == 100
    for name in ("album", "./album", "folder:album", "memory:0", "mine.py:data"):
        assert of_another(digits, name).train_size is None
