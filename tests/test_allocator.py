"""In processes of their own, as what malloc was told stays with a process."""

import os
import subprocess
import sys

import pytest

AGAIN_AND_AGAIN = """
import resource, sys
import numpy as np
from fftune.allocator import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):  # until it has found its places
    np.ones(2**23)
before = faults()
for _ in range(20):
    np.ones(2**23)
print(faults() - before)
"""
PAGES = 20 * 2**23 * 8 // 4096
"""Of 20 arrays of 64 MiB."""
GLIBC = pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another malloc")


def faults(how: str, **environment: str) -> int:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", AGAIN_AND_AGAIN, how],
        env=plain | {"NUMPY_MADVISE_HUGEPAGE": "0"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@GLIBC
def test_freed_memory_is_not_fetched_again() -> None:
    assert faults("leave") > PAGES / 2
    assert faults("keep") < PAGES / 50


@GLIBC
def test_what_the_user_told_malloc_stands() -> None:
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072") > PAGES / 2
