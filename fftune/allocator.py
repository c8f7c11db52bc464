"""Keep freed memory in the process, so that the next tensor gets it without page faults."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt`, from glibc's malloc.h."""
_MAPPED_ALONE = 2**30
_KEPT = 2**31 - 1


def keep_freed() -> None:
    """Let glibc keep freed blocks for the next tensor, for the rest of the process.

    By default glibc returns blocks of some MB to the system at once, and each step of an attack
    has the pages of its activations mapped and zeroed again. Nothing changes with another C
    library, or if the user has set `MALLOC_...` or `GLIBC_TUNABLES`.
    """
    user_set = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if user_set or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
