import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fftune.cli.data import main
from fftune.config import DataSpec
from fftune.data import load
from fftune.data.beton.manifest import read_manifest
from fftune.data.conversion import PHASES
from fftune.errors import ConfigError, DataError

SET = "synthetic:shape=3x8x8,classes=4,train=40,test=8"
STORED = "synthetic-shape3x8x8-classes4-train40-test8"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "datasets"


def test_what_is_written_is_found_listed_and_verified(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["write", SET, "--validation-size", "8"])
    main(["verify", STORED])
    main(["list"])
    out = capsys.readouterr().out
    assert out.count(f"{STORED}/train.beton: 40 examples of 4 classes, 3x8x8") == 2
    assert f"data sets in {root}" in out and f"{STORED} " in out
    manifest = read_manifest(root / STORED / "train.beton")
    assert {role: part.size for role, part in manifest.splits.items()} == {"train": 32, "select": 8}
    spec = DataSpec(name=STORED, train_size=None, validation_size=8)
    exact = DataSpec(name=SET, train_size=None, validation_size=8)
    assert load(spec, "validation").hash() == load(exact, "validation").hash()


def test_the_digits_can_be_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["write", "digits"])
    assert "1,797 examples of 10 classes, 1x8x8" in capsys.readouterr().out
    assert read_manifest(root / "digits/whole.beton").splits == {}


@pytest.fixture
def net(tmp_path: Path) -> str:
    path = tmp_path / "own.py"
    path.write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 4))\n"
    )
    return f"{path}:net"


def test_a_poisoned_set_keeps_its_test_part(
    net: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["write", SET, "--kind", "poisoning", "--net", net, "--threat.eps", "0.05"])
    folder = next(root.glob("*poisoning*"))
    train, test = (read_manifest(folder / f"{part}.beton") for part in ("train", "test"))
    assert train.made is not None and train.made.net is not None and test.made is None
    settings = json.loads(train.made.settings)
    assert settings["threat"] == {"norm": "linf", "eps": 0.05, "clamp": True}
    assert settings["attack"]["step_size"] == 0.05 / 5
    clean = load(DataSpec(name=SET, train_size=None, validation_size=0), "test")
    assert test.content == clean.hash()


def test_poisons_of_either_norm_stand_side_by_side_each_of_its_own_radius(
    net: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of l_2 with the radius of l_inf not one pixel would change."""
    write = ["write", SET, "--kind", "poisoning", "--net", net]
    main(write)
    main([*write, "--threat.norm", "l2"])
    found, clean = {}, load(DataSpec(name=SET), "train")
    for folder in root.glob("*poisoning*"):
        made = read_manifest(folder / "train.beton").made
        assert made is not None
        threat = json.loads(made.settings)["threat"]
        found[folder.name.removeprefix(STORED)] = (threat["norm"], threat["eps"])
        poison = load(DataSpec(name=folder.name), "train")
        assert (poison.pixels != clean.pixels).flatten(1).any(1).all()
    assert found == {"-poisoning": ("linf", 8 / 255), "-poisoning-l2": ("l2", 0.5)}
    out = capsys.readouterr().out
    assert "linf eps 0.0313725 (8/255), constants paper, seed 0" in out
    assert "l2 eps 0.5, constants" in out


@pytest.mark.parametrize(
    ("threat", "message"),
    [
        (["--threat.norm", "l2", "--threat.eps", "0.0019"], "l2 with eps 0.0019 changes no pixel"),
        (["--threat.eps", "0.0019"], "linf with eps 0.0019 changes no pixel of .* 256 levels"),
        (["--threat.eps", "2"], "threat.eps must be <= 1 for linf"),
        (["--threat.norm", "l2", "--threat.eps", "nan"], "threat.eps must be finite, got nan"),
    ],
)
def test_a_poison_that_is_none_is_refused(
    net: str, root: Path, threat: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        main(["write", SET, "--kind", "poisoning", "--net", net, *threat])
    assert "\n" not in str(caught.value) and not list(root.glob("*poisoning*/train.beton"))


def test_a_poison_says_how_many_images_stay_as_they_were(
    tmp_path: Path, net: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A black image that is to become darker cannot."""
    own = tmp_path / "darker.py"
    own.write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        dark = -x.mean((1, 2, 3))\n"
        "        return torch.stack([-dark, dark], 1)\n"
        "net = Net\n"
    )
    for i, level in enumerate((0, 200)):
        path = tmp_path / f"set/train/{'ab'[i]}/0.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", (4, 4), (level,) * 3).save(path)
    draw = ["write", f"folder:{tmp_path}/set", "--kind", "poisoning", "--net", f"{own}:net"]
    main([*draw, "--constants", "code"])
    assert "1 of 2 images stay as they were" in caplog.text


def test_what_is_written_is_told(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["write", SET, "--kind", "mislabeling", "--seed", "7"])
    main(["verify", f"{STORED}-mislabeling"])
    main(["write", "synthetic:classes=40,train=40,test=40"])
    out = capsys.readouterr().out
    parent = read_manifest(root / f"{STORED}-mislabeling/clean.beton").content
    assert out.count("4 classes in order: 0, 1, 2, 3\n") == 2
    assert out.count(f", mislabeling of {parent}, seed 7\n") == 2
    counts = {f"{part}.beton: {n} examples" for part, n in (("clean", 40), ("test", 8))}
    assert all(out.count(count) == 2 for count in counts)
    assert "40 classes in order: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...\n" in out


def test_a_phase_of_fastat_sets_the_sizes(tmp_path: Path, draw: object, root: Path) -> None:
    assert callable(draw)
    for part in ("train", "val"):
        draw(f"photos/{part}/a/0.png", size=(400, 300))
    main(["write", "imagenet", "--source", str(tmp_path / "photos"), "--phase", "2"])
    train, test = (
        read_manifest(root / f"imagenet-phase2/{part}.beton") for part in ("train", "test")
    )
    assert train.shape == (3, 352, 469) and test.shape == (3, 224, 224)
    assert [PHASES[phase].image_resize for phase in (1, 2, 3)] == [True, True, False]
    main(["write", "imagenet", "--source", str(tmp_path / "photos"), "--phase", "3"])
    last = read_manifest(root / "imagenet-phase3/test.beton")
    assert last.shape == (3, 288, 288) and not last.write.image_resize


def test_substandard_photographs_are_cut_alike(tmp_path: Path, draw: object, root: Path) -> None:
    assert callable(draw)
    for i, size in enumerate([(40, 30), (33, 52)]):
        draw(f"photos/train/a/{i}.png", size=size)
    write = ["write", f"folder:{tmp_path}/photos", "--kind", "noise"]
    with pytest.raises(DataError, match="an image_size makes them alike"):
        main(write)
    with pytest.raises(ConfigError, match="kind: images of noise data have one size; --image-size"):
        main([*write, "--phase", "2"])
    main([*write, "--image-size", "16"])
    assert read_manifest(root / "photos-noise/train.beton").shape == (3, 16, 16)
    stored = DataSpec(name="photos-noise", train_size=None, validation_size=0, image_size=16)
    assert load(stored, "train").shape == (3, 16, 16)


def test_damage_is_found_by_verify(root: Path) -> None:
    main(["write", SET])
    path = root / STORED / "train.beton"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged: its checksum is another one"):
        main(["verify", str(path)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "VERB is missing"),
        (["wrte"], "did you mean 'write'"),
        (["verify"], "names must hold"),
        (["verify", "nothing"], "is no beton, nor a folder or data set with betons"),
        (["write", "cifr10"], "did you mean 'cifar10'"),
        (["write", SET, "--part", "whole"], "has no whole part, only train, test"),
        (["write", SET, "--qualty", "3"], "did you mean --quality"),
        (["write", SET, "--quality", "101"], "quality must be in 1 ... 100, got 101"),
        (["write", SET, "--page-mib", "3"], "page_mib must be"),
        (["write", SET, "--kind", "poisoning"], "net: poisoning needs a net"),
        (["write", SET, "--net", "x"], "net is used by poisoning and helped alone"),
        (["write", SET, "--train-size", "39", "--validation-size", "5"], "cannot be split into"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message.replace("(", r"\(")) as caught:
        main(arguments)
    assert "\n" not in str(caught.value)


def test_help_answers_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fftune.data", "write", "--help"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "--skip-bad" in done.stdout
    assert " torch\n" not in done.stderr and " numpy\n" not in done.stderr
