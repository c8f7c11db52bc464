"""Perturbed images that were kept are those that were judged, to the bit, and whose they are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from subjects import job_of

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.errors import DataError
from fftune.evaluation.block import attack_block, logits_of, searched
from fftune.evaluation.job import under_test
from fftune.evaluation.saved_points import COLUMNS, SavedPoints, index_points, write_points

THREAT = ThreatModel(eps=0.02)
RISKS = BatteryConfig(name="risks", block_size=40)


@pytest.fixture(scope="module")
def kept(toy, blobs, tmp_path_factory) -> tuple[Path, pa.Table]:
    """A folder of both goals' points, and the rows of the same evaluation, behind a defence too."""
    folder, parts, tables = tmp_path_factory.mktemp("kept"), [], []
    job = job_of(toy, blobs, RISKS, threat=THREAT, defense=DefenseConfig(names=("random",)))
    attacks = [one for one in job.attacks if one.name == "pgd-20"]
    with under_test(toy, job) as subject:
        for attack in attacks:
            for block in job.dataset.batches(job.block_size):
                found = searched(subject, block, attack, job.noise)
                table = attack_block(subject, block, attack, noise=job.noise)
                bare = table.filter(pa.compute.field("defense") == "none")
                parts.append(write_points(folder, bare, found.x, found.x_pert))
                tables.append(table)
    index_points(folder, reversed(parts), blobs.source.classes)
    return folder, pa.concat_tables(tables)


def test_points_are_those_that_were_judged(kept, toy, blobs) -> None:
    saved = SavedPoints.read(kept[0])
    x, x_pert = saved.images(saved.index)
    ids = saved.index["id"].to_pylist()
    rows = {int(one): at for at, one in enumerate(blobs.ids)}
    assert torch.equal(x, blobs.pixels[[rows[one] for one in ids]] / 255)
    assert 0 < float((x_pert - x).abs().max()) <= 0.02 + 1e-6
    with under_test(toy, job_of(toy, blobs, RISKS, threat=THREAT)) as subject, torch.no_grad():
        pred = logits_of(subject, x_pert).argmax(1)
    assert pred.tolist() == saved.index["pred_pert"].to_pylist()
    assert saved.classes == tuple("abcdefgh")


def test_a_point_finds_its_row_of_the_outcomes(kept) -> None:
    index, rows = SavedPoints.read(kept[0]).index.to_pandas(), kept[1].to_pandas()
    bare = rows[rows.defense == "none"]
    joined = bare.merge(index, on=[*COLUMNS.names[:12]], suffixes=("", "_saved"), validate="1:1")
    assert len(joined) == len(bare) == len(index) > 100
    assert (joined.pred_pert == joined.pred_pert_saved).all()
    assert {*index.goal} == {"adversarial", "hypocritical"}


def test_others_read_it_without_us(kept) -> None:
    index = pd.read_parquet(kept[0] / "index.parquet")
    one = index.iloc[7]
    with np.load(kept[0] / one.file) as file:
        assert file["ids"][one.position] == one.id
        assert file["x_pert"].dtype == np.float32
        assert file["x"].shape == file["x_pert"].shape


def test_rows_in_any_order_get_their_own_images(kept) -> None:
    saved = SavedPoints.read(kept[0])
    some = saved.index.take([90, 3, 41])
    for image, at in zip(saved.images(some)[1], (90, 3, 41), strict=True):
        assert torch.equal(image, saved.images(saved.index.slice(at, 1))[1][0])
    assert len(saved.images(saved.index.slice(0, 0))[0]) == 0


def test_images_of_others_are_refused(kept, tmp_path) -> None:
    parts = SavedPoints.read(kept[0]).index
    moved = parts.set_column(
        parts.schema.get_field_index("position"), "position", [[0] * len(parts)]
    )
    (tmp_path / "index.parquet").unlink(missing_ok=True)
    for file in kept[0].glob("*.npz"):
        (tmp_path / file.name).hardlink_to(file)
    index_points(tmp_path, [moved], ["a"])
    saved = SavedPoints.read(tmp_path)
    with pytest.raises(DataError, match="not of the examples of the index"):
        saved.images(saved.index)


@pytest.mark.parametrize("name", ["../x.npz", "/etc/passwd", "", None])
def test_no_file_outside_of_the_folder_is_read(kept, tmp_path, name) -> None:
    parts = SavedPoints.read(kept[0]).index.slice(0, 1)
    at = parts.schema.get_field_index("file")
    index_points(
        tmp_path, [parts.set_column(at, COLUMNS.field("file"), pa.array([name], pa.string()))], []
    )
    with pytest.raises(DataError, match="names no file of its folder"):
        SavedPoints.read(tmp_path)
