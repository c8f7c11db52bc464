from pathlib import Path

import pytest
import torch

from fftune.data import memory_check as free_memory
from fftune.data.catalog import open_parts
from fftune.data.images import Array
from fftune.errors import DataError


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With 3,000 KiB free, and no container."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    3000 kB\n")
    monkeypatch.setattr(free_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "GROUP", tmp_path)
    return tmp_path


def test_what_is_free_is_what_the_machine_and_its_container_leave(machine: Path) -> None:
    assert free_memory.free_memory() == 3000 * 1024
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("1500000\n")
    (machine / "memory.stat").write_text("anon 1000000\ninactive_file 400000\n")
    assert free_memory.free_memory() == 3000 * 1024
    (machine / "memory.max").write_text("2000000\n")
    assert free_memory.free_memory() == 2_000_000 - 1_500_000 + 400_000
    (machine / "meminfo").unlink()
    (machine / "memory.max").unlink()
    assert free_memory.free_memory() is None


def test_a_set_that_does_not_fit_is_refused_before_it_is_read(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = open_parts("synthetic:shape=3x100x100,classes=2,train=110,test=2")["train"]
    read, counted = [], Array.read

    def read_counted(images: Array, i: int) -> object:
        read.append(i)
        return counted(images, i)

    monkeypatch.setattr(Array, "read", read_counted)
    assert len(part.read(torch.arange(100), "train")) == 100  # 3.00 of 3.07 MB
    read.clear()
    with pytest.raises(DataError, match=r"110 images of 'synthetic' take 0\.0 GB.*'ffcv'"):
        part.read(torch.arange(110), "train")
    assert len(read) <= 1
