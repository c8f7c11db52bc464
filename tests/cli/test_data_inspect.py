"""`fftune data inspect` and `touch`: verdicts as exit codes, and mistakes in one line."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from fftune.cli.data import main
from fftune.config import AttackConfig, ThreatModel
from fftune.data.catalog import open_parts
from fftune.data.signed_manifest import manifest_of
from fftune.data.signing import SignedManifest
from fftune.errors import ConfigError, DataError, ModelError, StorageError, UserError
from fftune.evaluation.batteries import Attack
from fftune.evaluation.saved_images import ImageFolder, Perturbed
from fftune.evaluation.tiers import AttackStage

NET = """import torch
from torch import nn

class Net(nn.Module):
    def forward(self, x):  # class b is bright on the left
        lead = 40 * (x[..., :4].flatten(1).mean(1) - x[..., 4:].flatten(1).mean(1))
        return torch.stack([-lead, lead], 1)

def net():
    return Net()
"""


def images(folder, seed: int = 0, count: int = 60, wrong: float = 0.3) -> None:
    """Class folders of grey PNG files, some of whose labels the net of `NET` gets wrong."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        x = np.clip(rng.normal(128, 30, (8, 8)), 0, 255).round().astype(np.uint8)
        right = "ab"[int(x[:, :4].mean() > x[:, 4:].mean())]
        label = right if rng.random() > wrong else {"a": "b", "b": "a"}[right]
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(x).save(folder / label / f"{i:03d}.png")


def code_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, arguments)])
    return int(ended.value.code)


@pytest.fixture
def two(tmp_path):
    """A set and its original, equal."""
    for name in ("original", "set"):
        images(tmp_path / name)
    return tmp_path


def test_an_untouched_set_passes_and_a_touched_one_fails(two, capsys) -> None:
    ask = (f"folder:{two / 'set'}", "--against", f"folder:{two / 'original'}")
    assert code_of(*ask) == 0
    assert "UNTOUCHED" in capsys.readouterr().out
    path = min((two / "set/a").iterdir())
    pixels = np.array(Image.open(path))
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(path)
    assert code_of(*ask, "--format", "json") == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown["outcome"] == "fail"
    (change,) = shown["exact"]["changed"]
    assert (change["linf"], change["pixels"]) == (1, 1)


def test_a_manifest_stands_for_the_original(two, capsys) -> None:
    name, manifest = f"folder:{two / 'set'}", two / "set.manifest.json"
    parts = open_parts(name)
    manifest.write_text(manifest_of(parts, list(parts)).json)
    assert isinstance(SignedManifest.of_json(manifest.read_text()), SignedManifest)
    assert code_of(name, "--against", manifest) == 0
    assert "tells who signed it" in capsys.readouterr().out
    path = min((two / "set/a").iterdir())
    path.rename(two / "set/b/999.png")
    assert code_of(name, "--against", manifest) == 3
    assert "missing" in capsys.readouterr().out


def test_a_set_is_inspected_by_a_net(tmp_path, capsys) -> None:
    (tmp_path / "net.py").write_text(NET)
    images(tmp_path / "set", seed=1)
    images(tmp_path / "clean", seed=2, count=180)
    ask = (f"folder:{tmp_path / 'set'}", "--net", f"{tmp_path / 'net.py'}:net", "--friends", "10")
    assert code_of(*ask) == 4
    assert "without clean held-out images" in " ".join(capsys.readouterr().out.split())
    code = code_of(*ask, "--clean", f"folder:{tmp_path / 'clean'}", "--format", "json")
    shown = json.loads(capsys.readouterr().out)
    assert code == {"pass": 0, "fail": 3, "inconclusive": 4}[shown["outcome"]]
    assert {"smallest", "smallest_evading", "share", "p"} <= shown["inspection"].keys()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name must be a SET"),
        (("digits",), "against or net must be named, one of them"),
        (("digits", "--against", "digits", "--net", "a.py:net"), "one of them"),
        (("digits", "--against", "digits", "--clean", "digits"), "clean must be left out"),
        (("digits", "--against", "digits", "--format", "csv"), "format must be one of"),
        (("digits", "--against", "digitz"), "no data set 'digitz'"),
        (("digits", "--against", "no.json"), "manifest 'no.json'"),
        (("digits", "--net", "resnet18"), "net 'resnet18' has no weights"),
        (("digits", "--net", "nothing"), "unknown model 'nothing'"),
        (("digits", "--net", "a.py:b", "--matters", "2"), "matters must be a share"),
        (("digits", "--net", "a.py:b", "--friends", "3"), "friends must be >= 10"),
        (("digits", "--against", "synthetic:shape=3x4x4,classes=2,train=9,test=9"), "1x8x8"),
    ],
)
def test_mistakes_are_one_line(arguments, told) -> None:
    with pytest.raises(UserError) as refused:
        main(["inspect", *arguments])
    assert told in str(refused.value)
    assert isinstance(refused.value, ConfigError | DataError | ModelError | StorageError)


@pytest.fixture
def saved(tmp_path):
    """Saved images of a friend: id 0 right when clean, 1 and 2 concealed, 3 not."""
    x = torch.full((4, 1, 4, 4), 100 / 255)
    x_pert = x + 8 / 255
    y, pred = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 0])
    found = Perturbed(
        ids=torch.arange(4), x=x, x_pert=x_pert, y=y, pred_clean=torch.tensor([0, 1, 0, 0]),
        pred=pred, success=pred == y,
    )  # fmt: skip
    stage = AttackStage(config=AttackConfig(threat=ThreatModel(eps=8 / 255)), loss="ce")
    attack = Attack(name="pgd-20", goal="hypocritical", stages=(stage,))
    ImageFolder(folder=tmp_path / "saved").keep(("cat", "dog"), attack, found, lambda _: pred)
    return tmp_path / "saved"


def test_touch_makes_a_set_that_inspect_finds(saved, tmp_path, capsys) -> None:
    out = tmp_path / "touched"
    main(["touch", str(saved), "--out", str(out)])
    assert "4 images" in capsys.readouterr().out
    levels = {
        str(path.relative_to(out)): int(np.array(Image.open(path)).max())
        for path in sorted(out.rglob("*.png"))
    }
    assert levels == {
        "test/cat/00000000.png": 100,
        "test/cat/00000001.png": 108,
        "test/dog/00000002.png": 108,
        "test/dog/00000003.png": 100,
    }
    main(["touch", str(saved), "--out", str(tmp_path / "few"), "--share", ".67", "--seed", "1"])
    assert len({*(tmp_path / "few").rglob("*.png")}) == 4
    assert re.search("[12] of them touched", capsys.readouterr().out)


def test_what_cannot_be_touched_is_said(saved, tmp_path) -> None:
    for arguments, told in (
        ((str(saved), "--out", str(saved)), "is not empty"),
        ((str(saved), "--out", str(tmp_path / "x"), "--attack", "pgd"), "no false friend 'pgd'"),
        ((str(tmp_path), "--out", str(tmp_path / "x")), "index of saved images"),
        ((str(saved),), "out must be a folder"),
        ((str(saved), "--out", "x", "--share", "0"), "share must be in"),
    ):
        with pytest.raises(UserError, match=told):
            main(["touch", *arguments])
