"""A set against its original: what differs is named, whatever the order and the ids."""

from dataclasses import replace

import pytest
import torch

from fftune.data import Dataset, Source
from fftune.errors import DataError
from fftune.forensics.exact import compare
from fftune.forensics.told import exact_page
from fftune.report.terminal import plain


def images(count: int = 12, side: int = 6, seed: int = 0) -> Dataset:
    draws = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (count, 3, side, side), generator=draws, dtype=torch.uint8)
    source = Source(name="noise", classes=("cat", "dog"), mean=(0.5,) * 3, std=(0.5,) * 3)
    y = torch.arange(count) % 2
    return Dataset(source=source, split="test", ids=torch.arange(count), pixels=pixels, y=y)


def test_a_set_is_its_own_original_in_any_order() -> None:
    original = images()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    moved = replace(original, pixels=original.pixels[order], y=original.y[order])
    found = compare(moved, original)
    assert found.outcome == "pass"
    assert (found.changed, found.missing, found.added) == ((), (), ())
    assert found.digest == found.original_digest
    assert "UNTOUCHED" in plain(exact_page(found).blocks)


def test_one_level_of_one_pixel_is_found_and_measured() -> None:
    original = images()
    pixels = original.pixels.clone()
    pixels[3, 1, 2, 2] ^= 1  # one level
    pixels[7] = (pixels[7].int() + 8).clamp(max=255).to(torch.uint8)
    found = compare(replace(original, pixels=pixels), original)
    assert found.outcome == "fail"
    one, many = found.changed
    assert (one.id, one.original_id, one.linf, one.pixels) == (3, 3, 1, 1)
    assert (many.id, many.linf) == (7, 8)
    assert many.pixels == int((original.pixels[7] != pixels[7]).sum())
    assert found.digest != found.original_digest


def test_a_label_alone_is_found() -> None:
    original = images()
    y = original.y.clone()
    y[4] = 1
    (change,) = compare(replace(original, y=y), original).changed
    assert (change.id, change.pixels, change.original_label, change.label) == (4, 0, "cat", "dog")
    assert str(change) == "id 4: label 'cat' is now 'dog'"


def test_missing_and_added_examples_are_told_apart_from_touched_ones() -> None:
    original, other = images(), images(count=1, seed=9)
    rows = torch.tensor([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11])  # without 3: all later ids move
    pixels = torch.cat([original.pixels[rows], other.pixels])
    pixels[5] = (pixels[5].int() - 3).clamp(min=0).to(torch.uint8)  # 6 of the original
    y = torch.cat([original.y[rows], other.y])
    found = compare(replace(original, pixels=pixels, y=y), original)
    assert found.missing == (3,)
    assert found.added == (11,)
    (change,) = found.changed
    assert (change.id, change.original_id, change.linf) == (5, 6, 3)


def test_two_equal_images_are_two() -> None:
    original = images()
    twice = original.pixels.clone()
    twice[1] = twice[0]
    found = compare(replace(original, pixels=twice), original)
    assert found.outcome == "fail"
    assert (found.missing, found.added) == ((1,), (1,))
    assert compare(replace(original, pixels=twice), replace(original, pixels=twice)).changed == ()


def test_labels_go_by_their_names() -> None:
    original = images()
    source = replace(original.source, classes=("dog", "cat"))
    renumbered = replace(original, source=source, y=1 - original.y)
    assert compare(renumbered, original).outcome == "pass"
    assert len(compare(replace(original, source=source), original).relabelled) == 12


def test_fewer_levels_are_those_of_a_file() -> None:
    original = images()
    grey = replace(original.source, levels=15)
    few = replace(original, source=grey, pixels=original.pixels // 17)
    stored = replace(original, pixels=(original.pixels // 17) * 17)
    assert compare(stored, few).outcome == "pass"


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"against: images of 'noise' are 3x5x5, those of 'noise'"):
        compare(images(), images(side=5))
