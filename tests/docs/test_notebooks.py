"""The notebooks run from the first cell to the last, and hold no output of an earlier run."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
BASH = "%%bash\n"


def cells(path: Path) -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return read


def program(path: Path) -> str:
    """A notebook's code as one program; cells of bash as processes that must pass."""
    parts = []
    for cell in cells(path):
        source = "".join(cell["source"])
        if cell["cell_type"] != "code":
            continue
        if source.startswith(BASH):
            script = "set -eo pipefail\n" + source.removeprefix(BASH)
            parts.append(
                f"import subprocess\nsubprocess.run(['bash', '-c', {script!r}], check=True)"
            )
        else:
            parts.append(source)
    return "\n\n".join(parts)


def test_there_is_one_for_each_habit() -> None:
    names = [path.stem for path in NOTEBOOKS]
    assert names == ["1-your-own-net", "2-a-front", "3-a-defense", "4-on-a-cluster"]
    index = (ROOT / "docs/index.md").read_text()
    assert all(f"notebooks/{name}.ipynb" in index for name in names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_an_earlier_run_is_kept(path: Path) -> None:
    for cell in cells(path):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            if not "".join(cell["source"]).startswith(BASH):
                compile("".join(cell["source"]), str(path), "exec")


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "FFTUNE_STORAGE": str(tmp_path),
        "FFTUNE_CLUSTER_DIR": str(tmp_path / "cluster"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-c", program(path)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
    finally:
        if BASH in program(path) or "local.sh" in program(path):
            subprocess.run(["clusters/local.sh", "stop"], cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
