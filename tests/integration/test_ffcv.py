"""FFCV itself against our files, and processes that use it: they compile once and always end."""

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from fftune.config import Augmentation, DataSpec, LoaderConfig, WriteConfig
from fftune.data import open_loader
from fftune.data.beton.format import read_beton
from fftune.data.beton.writer import write_beton
from fftune.data.catalog import open_parts
from fftune.data.engines.ffcv_decoder import why_missing

if why_missing():
    pytest.skip(why_missing(), allow_module_level=True)

ROOT = Path(__file__).parents[2]
COLOUR = "synthetic:shape=3x16x12,classes=5,train=500,test=20,seed=1"
GREY = COLOUR.replace("3x16x12", "1x16x12")


@pytest.fixture(autouse=True)
def _own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fftune.data.beton.manifest.VERIFIED", str(tmp_path / "verified"))


def written(folder: Path, name: str = COLOUR, config: WriteConfig | None = None) -> DataSpec:
    """The training part of a set as a beton, and the spec that finds it."""
    part = open_parts(name)["train"]
    write_beton(part, folder / "train.beton", config or WriteConfig(), origin="", splits={})
    return DataSpec(name=f"folder:{folder}", train_size=None, validation_size=0)


@pytest.mark.parametrize(("name", "mode"), [(COLOUR, "raw"), (GREY, "raw"), (COLOUR, "jpg")])
def test_ffcvs_own_loader_reads_our_files(tmp_path: Path, name: str, mode: str) -> None:
    from ffcv.loader import Loader, OrderOption

    written(tmp_path, name, WriteConfig(mode=mode))  # type: ignore[arg-type]
    path = tmp_path / "train.beton"
    threads = torch.get_num_threads()
    loader = Loader(str(path), 64, 1, order=OrderOption.SEQUENTIAL, drop_last=False)
    columns = [[column.clone() for column in batch] for batch in loader]
    torch.set_num_threads(threads)
    images, y, ids = (torch.cat(column) for column in zip(*columns, strict=True))
    beton = read_beton(path)
    assert y.flatten().tolist() == beton.y.tolist() and ids.flatten().tolist() == list(range(500))
    for i in range(0, 500, 50):
        ours = beton.pixels(i).astype(int)
        apart = np.abs(images[i].numpy().astype(int) - ours)
        # Its JPEG decoder is a fast one and PIL's is exact; raw pixels may not differ at all.
        assert apart.mean() <= 2 if mode == "jpg" else apart.max() == 0


class Examples:
    """What FFCV's writer asks of a data set."""

    def __init__(self) -> None:
        self.part = open_parts(COLOUR)["train"]

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int, int]:
        return self.part.images.read(i).pixels, int(self.part.y[i]), i


def test_we_read_what_ffcv_writes(tmp_path: Path) -> None:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField("raw"), "y": IntField(), "id": IntField()}
    DatasetWriter(str(tmp_path / "theirs.beton"), fields, num_workers=1).from_indexed_dataset(
        Examples()
    )
    theirs, source = read_beton(tmp_path / "theirs.beton"), Examples()
    assert theirs.y.tolist() == source.part.y.tolist() and theirs.ids.tolist() == list(range(500))
    for i in range(500):
        assert np.array_equal(theirs.pixels(i), source[i][0])


@pytest.mark.parametrize("mode", ["raw", "jpg", "mixed"])
def test_photographs_of_any_size_are_cropped_by_ffcv(tmp_path: Path, mode: str) -> None:
    spec = written(tmp_path, config=WriteConfig(mode=mode, sizes="mixed"))  # type: ignore[arg-type]
    config = LoaderConfig(augmentation=Augmentation(resized_crop=8, flip=True), batch_size=200)
    batches = list(open_loader(spec, "train", config).epoch(0))
    assert [tuple(x.shape) for _, x, _ in batches] == [(n, 3, 8, 8) for n in (200, 200, 100)]
    assert torch.cat([ids for ids, _, _ in batches]).tolist() == list(range(500))


@pytest.mark.slow
def test_threads_and_memory_stop_growing(tmp_path: Path) -> None:
    spec = written(tmp_path, "synthetic:shape=3x64x64,classes=5,train=2000,test=20")
    loader = open_loader(spec, "train", LoaderConfig(batch_size=50, engine="ffcv", shuffle=True))
    process, resident = psutil.Process(), []
    for epoch in range(50):
        for step, _ in enumerate(loader.epoch(epoch)):
            if epoch % 2 and step == 3:
                break
        resident.append(process.memory_info().rss)
        names = [thread.name for thread in threading.enumerate()]
        assert not any(name.startswith("fftune-data") for name in names)
    assert max(resident[25:]) - max(resident[:25]) < 20e6


def run(code: str | Path, **environment: str) -> str:
    """The last line that a fresh process prints; it must end."""
    program = [str(code)] if isinstance(code, Path) else ["-c", textwrap.dedent(code)]
    done = subprocess.run(
        [sys.executable, *program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def first_epochs(tmp_path: Path, processes: int) -> list[float]:
    """CPU-seconds until the first epoch is over, in processes one after the other."""
    spec = written(tmp_path)
    code = f"""
        import time
        import torch
        from fftune.config import DataSpec, LoaderConfig
        from fftune.data import open_loader
        from fftune.data.engines.ffcv_decoder import _ffcv
        import fftune.data.loader
        torch.set_num_threads(2)
        _ffcv()  # importing is not compiling
        spec = DataSpec(name={spec.name!r}, train_size=None, validation_size=0)
        began = time.process_time()
        batches = list(open_loader(spec, "train", LoaderConfig(engine="ffcv")).epoch(0))
        spent = time.process_time() - began
        assert torch.get_num_threads() == 2  # FFCV's own loader sets it for the whole process
        print(spent)
    """
    cache = str(tmp_path / "numba")
    return [float(run(code, NUMBA_CACHE_DIR=cache)) for _ in range(processes)]


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    """It adds nothing to the machine code on disk, and changes nothing of it."""
    first_epochs(tmp_path, 1)
    compiled = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")}
    first_epochs(tmp_path, 1)
    assert compiled
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")} == compiled


@pytest.mark.slow
def test_the_second_process_hardly_compiles(tmp_path: Path) -> None:
    """In seconds, for a machine of its own: beside a busy neighbour CPU time swells too."""
    first, *later = first_epochs(tmp_path, 4)
    assert min(later) <= 1.0 < first


@pytest.mark.slow
def test_a_process_on_one_cpu_ends_after_forks_spawns_and_broken_loops(tmp_path: Path) -> None:
    spec = written(tmp_path)
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(f"""
            import multiprocessing, os
            os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
            from fftune.config import DataSpec, LoaderConfig
            from fftune.data import open_loader

            SPEC = DataSpec(name={spec.name!r}, train_size=None, validation_size=0)

            def total(engine):
                loader = open_loader(SPEC, "train", LoaderConfig(engine=engine, workers=2))
                for batch in loader.epoch(0):
                    break
                return sum(int(ids.sum()) for ids, _, _ in loader.epoch(1))

            if __name__ == "__main__":
                expected = sum(range(500))
                assert total("ffcv") == total("torch") == expected
                for method in ("fork", "spawn"):
                    with multiprocessing.get_context(method).Pool(1) as pool:
                        assert pool.map(total, ["ffcv"]) == [expected]
                loader = open_loader(SPEC, "train", LoaderConfig(engine="ffcv"))
                held = loader.epoch(0)  # never finished, never closed
                next(held)
                print("ended")
        """)
    )
    assert run(script) == "ended"


@pytest.mark.slow
def test_a_ray_actor_delivers_the_same(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    spec = written(tmp_path)
    config = LoaderConfig(engine="ffcv", shuffle=True, augmentation=Augmentation(crop_padding=2))
    ray.init(address="local", num_cpus=2, include_dashboard=False)
    try:

        @ray.remote(num_cpus=1)
        class Reader:
            def read(self, rank: int) -> list[tuple[np.ndarray, ...]]:
                loader = open_loader(spec, "train", config, rank=rank, ranks=2)
                return [tuple(part.numpy() for part in batch) for batch in loader.epoch(1)]

        actors = [Reader.remote() for _ in range(2)]
        delivered = ray.get([actor.read.remote(r) for r, actor in enumerate(actors)])
    finally:
        ray.shutdown()
    for rank, batches in enumerate(delivered):
        here = open_loader(spec, "train", config, rank=rank, ranks=2).epoch(1)
        for found, expected in zip(batches, here, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
