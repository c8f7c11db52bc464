"""Perturbed images as files: eight bits where they keep the verdict, else the exact points."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from fftune.config import BatteryConfig, ThreatModel
from fftune.evaluation.batteries import risks
from fftune.evaluation.evaluate import evaluate
from fftune.evaluation.saved_images import COLUMNS, ImageFolder, Perturbed

EPS = 8 / 255
(ATTACK, _) = risks(ThreatModel(eps=EPS), 20)
CLASSES = ("cat", "dog")


def bright(x: torch.Tensor, at: float = 0.5) -> torch.Tensor:
    """Class 1 above a mean."""
    return (x.flatten(1).mean(1) > at).long()


def perturbed(ids: list[int], x: torch.Tensor, x_pert: torch.Tensor, at: float = 0.5) -> Perturbed:
    """Images of class 0, which an adversary has changed."""
    return Perturbed(
        ids=torch.tensor(ids),
        x=x,
        x_pert=x_pert,
        y=torch.zeros(len(x), dtype=torch.long),
        pred_clean=bright(x, at),
        pred=bright(x_pert, at),
        success=bright(x_pert, at) == 1,
    )


def rows_of(folder) -> list[dict[str, str]]:
    with (folder / "index.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def read(folder, row: dict[str, str]) -> torch.Tensor:
    """(1, C, H, W), as whoever opens the file sees it."""
    path = folder / row["file"]
    if row["kept"] == "float32":
        return torch.from_numpy(np.load(path)["x"])[None]
    pixels = torch.from_numpy(np.array(Image.open(path)))
    image = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return image[None].float() / 255


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_whose_verdict_survives_is_a_png(tmp_path, channels: int) -> None:
    x = torch.full((2, channels, 2, 2), 124 / 255)
    x_pert = torch.full((2, channels, 2, 2), 130.3 / 255)
    x_pert[0] = 125.2 / 255
    folder = ImageFolder(folder=tmp_path)
    folder.keep(CLASSES, ATTACK, perturbed([7, 9], x, x_pert), bright)
    first, second = rows_of(tmp_path)
    assert list(first) == list(COLUMNS)
    assert (first["file"], second["file"]) == (
        "pgd-20-adversarial/7.png",
        "pgd-20-adversarial/9.png",
    )
    assert (first["kept"], first["label"], first["label_perturbed"]) == ("8 bits", "cat", "cat")
    assert (second["kept"], second["label_clean"], second["label_perturbed"]) == (
        "8 bits",
        "cat",
        "dog",
    )
    assert (first["success"], second["success"]) == ("False", "True")
    assert torch.equal(read(tmp_path, first), torch.full((1, channels, 2, 2), 125 / 255))
    assert torch.equal(read(tmp_path, second), torch.full((1, channels, 2, 2), 130 / 255))
    assert "2 perturbed images are in" in str(folder) and "0 as exact float32" in str(folder)


def test_levels_that_would_flip_the_verdict_are_not_taken(tmp_path) -> None:
    x_pert = torch.full((1, 1, 2, 2), 127.4 / 255)  # above 0.4985 as it is, below it as 127 / 255
    found = perturbed([3], torch.full((1, 1, 2, 2), 120 / 255), x_pert, at=0.4985)
    folder = ImageFolder(folder=tmp_path)
    folder.keep(CLASSES, ATTACK, found, lambda x: bright(x, 0.4985))
    (row,) = rows_of(tmp_path)
    assert (row["kept"], row["file"], row["success"]) == (
        "float32",
        "pgd-20-adversarial/3.npz",
        "True",
    )
    assert torch.equal(read(tmp_path, row), x_pert)
    assert "0 as PNG" in str(folder) and "1 as exact float32" in str(folder)


def test_rounding_does_not_leave_the_ball(tmp_path) -> None:
    """A radius of 2.6 levels: 2.6 rounds to 3, and 2 is kept."""
    (attack, _) = risks(ThreatModel(eps=2.6 / 255), 20)
    x = torch.tensor([100.0, 100.0, 100.0, 100.0]).view(1, 1, 2, 2) / 255
    moved = torch.tensor([2.6, -2.6, 2.4, 0.0]).view(1, 1, 2, 2) / 255
    folder = ImageFolder(folder=tmp_path)
    folder.keep(CLASSES, attack, perturbed([0], x, x + moved), bright)
    (row,) = rows_of(tmp_path)
    assert (255 * read(tmp_path, row)).round().flatten().tolist() == [102, 98, 102, 100]
    assert float(row["distance"]) <= 2.6 / 255


def test_an_evaluation_keeps_what_its_rows_speak_of(toy, blobs, tmp_path) -> None:
    few = blobs.select(torch.arange(20), "test")
    battery, threat = BatteryConfig(steps=3, block_size=8), ThreatModel(eps=0.05)
    folder = ImageFolder(folder=tmp_path)
    found = evaluate({"toy": toy}, few, battery, threat=threat, keep={"toy": folder})
    assert found["toy"].outcomes is not None
    rows = found["toy"].outcomes.to_pandas().set_index(["goal", "id"])
    kept = rows_of(tmp_path)
    assert len(kept) == 40 == len(list(tmp_path.glob("pgd-3-*/*")))
    images = torch.cat([read(tmp_path, row) for row in kept])
    with torch.no_grad():
        seen = toy(images).argmax(1).tolist()
    for row, pred in zip(kept, seen, strict=True):
        told = rows.loc[(row["goal"], int(row["id"]))]
        assert (pred, int(row["pred"])) == (told["pred_pert"], told["pred_pert"])
        assert (row["success"] == "True") == told["success"] and int(row["y"]) == told["y"]
        assert float(row["distance"]) <= 0.05 + 1e-6
