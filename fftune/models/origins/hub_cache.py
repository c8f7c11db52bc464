"""Files of the Hugging Face hub in its local cache, which is read without its library.

Layout: <cache>/models--OWNER--NAME/{refs/REVISION, snapshots/COMMIT/FILE}, and `datasets--`.
"""

import os
from pathlib import Path
from typing import Literal

from fftune.stored_file import read_text


def hub_cache() -> Path:
    """Folder of the cache, as the hub's library finds it."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{home}/huggingface"
    found = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    return Path(found or f"{home}/hub").expanduser()


def snapshot(
    repository: str, revision: str, kind: Literal["models", "datasets"] = "models"
) -> Path:
    """Folder of a revision, a branch, tag or commit; it may not be there."""
    folder = hub_cache() / f"{kind}--{repository.replace('/', '--')}"
    reference = folder / "refs" / revision
    commit = read_text(reference, "reference").strip() if reference.is_file() else revision
    known = sorted(one.name for one in (folder / "snapshots").glob(f"{commit}*") if len(commit) > 6)
    return folder / "snapshots" / (known[0] if len(known) == 1 else commit)


def cached(repository: str, name: str, revision: str) -> Path:
    """Path of a file of a repository in the cache; it may not be there."""
    return snapshot(repository, revision) / name
