"""Check that a data set fits into memory, before it is decoded for an hour."""

from pathlib import Path

from fftune.errors import DataError

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")
"""Memory controls of a container (Linux cgroups, version 2)."""


def check_fits(name: str, count: int, size: int) -> None:
    """Refuse to hold `size` bytes of images.

    Raises:
        DataError: less is free, of the machine or of what its container allows.
    """
    free = free_memory()
    if free is not None and size > free:
        raise DataError(
            f"the {count:,} images of {name!r} take {size / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free; the engines 'ffcv' and 'torch' hold a batch at a time"
        )


def free_memory() -> int | None:
    """Bytes that can be taken without swapping; None if Linux does not say."""
    found = [size for size in (_machine(), _group()) if size is not None]
    return min(found, default=None)


def _machine() -> int | None:
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    kibibytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kibibytes[0]) * 1024 if kibibytes else None


def _group() -> int | None:
    """Bytes left of the container's limit; cached pages of files count as free."""
    try:
        limit = (GROUP / "memory.max").read_text().strip()
        used = int((GROUP / "memory.current").read_text())
        counts = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    return max(int(limit) - used + int(counts.get("inactive_file", 0)), 0)
