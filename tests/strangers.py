"""Another user of this machine: programs as that user, in children of the test's process."""

import ctypes
import os
from collections.abc import Callable, Sequence

import pytest

from tests.forked import Ended, forked

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
ALICE, BOB = 54321, 54322
"""Numbers that no account has."""


def as_user(
    uid: int, program: Callable[[], object], *, groups: Sequence[int] = (), umask: int = 0o022
) -> Ended:
    """Run a function as that user, in groups of which the first is its own.

    What libraries read is left readable (they may lie in a folder that is closed to others);
    nothing else is left of root's powers.
    """

    def program_as_user() -> None:
        os.umask(umask)
        _become(uid, groups or (uid,))
        program()

    return forked(program_as_user)


def _become(uid: int, groups: Sequence[int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(8, 1, 0, 0, 0) == 0  # PR_SET_KEEPCAPS
    os.setgroups(list(groups))
    os.setresgid(*[groups[0]] * 3)
    os.setresuid(*[uid] * 3)
    reads = 1 << 2  # CAP_DAC_READ_SEARCH
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)(reads, reads, 0, 0, 0, 0)
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())
    os.environ.update(HOME="/nonexistent", USER="", LOGNAME="")
