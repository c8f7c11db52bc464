"""Folders and token of a private Ray on this machine, which other users of it cannot enter."""

import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from fftune.errors import ClusterError, StorageError
from fftune.storage import in_home, may_write

SOCKET_BYTES = 107
"""Longest path of a socket on Linux."""
RAYS_BYTES = 92
"""Bytes of a path below the temporary folder: our folder and Ray's `session_.*/sockets/.*`."""


def short_temp() -> Path:
    """Temporary folder in which Ray's sockets have paths that are short enough.

    That is the user's (`RAY_TMPDIR`, `TMPDIR`), or `/tmp` where that one's path is too long, as
    those of batch systems are.

    Raises:
        ClusterError: neither will do.
    """
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    longest = SOCKET_BYTES - RAYS_BYTES
    for place in (Path(given), Path("/tmp")):  # noqa: S108 - only for `private_temp`
        if len(os.fsencode(place)) <= longest and may_write(place):
            return place
    raise ClusterError(
        f"temporary folder {given!r} has a path that is too long for Ray's sockets, and '/tmp' "
        f"cannot be written; set TMPDIR to one of at most {longest} characters"
    )


def private_temp() -> Path:
    """Folder below `short_temp` that its owner alone can enter, as clusters/local.sh has one.

    Ray opens its own folder, and all below, to every user: who may write there may change the code
    that runs here. A folder that another user has prepared under the name is not taken.
    """
    place = short_temp() / f"fftune-{os.getuid()}"
    with suppress(FileExistsError):
        place.mkdir(mode=0o700)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="fftune-", dir=place.parent))
    place.chmod(0o700)
    return place


def make_token_private() -> None:
    """Create the token file of a private Ray with mode 600; Ray's own is readable by everybody.

    Same as clusters/token.sh. A token that is given in another way is left alone. Without a home
    folder for the file the token is in the environment, for this process and its children.
    """
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    try:
        _make_private(in_home("~/.ray/auth_token"))
    except (OSError, StorageError):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(file, "w", encoding="utf-8") as new:
            new.write(secrets.token_hex(32))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
