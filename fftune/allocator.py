"""What becomes of the memory that tensors give back."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
_MAPPED_ALONE = 2**30
_KEPT = 2**31 - 1


def keep_freed() -> None:
    """Let the next tensor have what the last one gave back, for as long as this process lives.

    glibc returns blocks of some MB to the system at once, and each step of an attack then has its
    activations fetched and zeroed again, page by page. Nothing is changed where the C library is
    another one, or where `MALLOC_...` or `GLIBC_TUNABLES` say what the user wants.
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_ALONE)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
