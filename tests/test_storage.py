import errno
import os
import shutil
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import mkdtemp

import pytest

from fftune.config import BatteryConfig, DefenseConfig, ThreatModel
from fftune.errors import ModelError, StorageError
from fftune.models.weights import read_plain
from fftune.report.evaluations import EvaluationRecord
from fftune.storage import locked, sha256, storage_root, write_text, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(part: Path) -> None:
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(StorageError, match="disk full; nothing was left behind"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_full_disk_is_called_so(tmp_path) -> None:
    with pytest.raises(StorageError, match="cannot write .*: the disk is full; nothing was left"):
        write_whole(tmp_path / "a", lambda _: Path("/dev/full").write_text("a"))
    assert not os.listdir(tmp_path)


def test_what_a_killed_writer_left_is_written_over(tmp_path) -> None:
    (tmp_path / ".a.part").write_text("half of something that was longer than this")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]


def test_who_locks_a_folder_deletes_what_killed_writers_left_and_nothing_else(tmp_path) -> None:
    below = tmp_path / "attempts"
    below.mkdir()
    (below / ".left.json.part").write_text("half")
    (below / ".linked.json.part").symlink_to(below / "kept")
    os.mkfifo(below / ".pipe.json.part")

    def fill(part: Path) -> None:
        with locked(tmp_path, "run"):  # of another driver, while this one writes
            part.write_text("whole")

    write_whole(below / "kept", fill)
    assert sorted(os.listdir(below)) == [".linked.json.part", "kept"]
    assert (below / "kept").read_text() == "whole"


def test_an_interruption_while_a_failed_write_is_cleaned_up_leaves_nothing(
    tmp_path, monkeypatch
) -> None:
    """MLflow may fail at the same moment, of the same full disk, and interrupts this thread."""
    unlink, asked = os.unlink, []

    def interrupted(path: Path) -> None:
        asked.append(path)
        if len(asked) == 1:
            raise KeyboardInterrupt
        unlink(path)

    monkeypatch.setattr(os, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", lambda _: Path("/dev/full").write_text("a"))
    assert not os.listdir(tmp_path)


def test_a_file_that_cannot_be_emptied_is_deleted(tmp_path, monkeypatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "ftruncate", fail)
        with pytest.raises(StorageError, match="Input/output error; nothing was left behind"):
            write_text(tmp_path / "a", "new")
    assert not os.listdir(tmp_path)


def test_writers_of_one_file_take_turns(tmp_path) -> None:
    """Each sees its own content in the part, from beginning to end."""
    path = tmp_path / "new" / "a"

    def write(text: str) -> None:
        def fill(part: Path) -> None:
            assert part.read_text() == ""
            part.write_text(text)
            os.sched_yield()
            assert part.read_text() == text

        for _ in range(10):
            write_whole(path, fill)

    texts = ["a" * 9, "b" * 99, "c" * 999]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, texts))
    assert path.read_text() in texts
    assert os.listdir(path.parent) == ["a"]


def test_a_part_that_points_elsewhere_is_not_followed(tmp_path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".a.part").symlink_to(tmp_path / "theirs")
    with pytest.raises(StorageError, match=r"cannot write .*a'"):
        write_text(tmp_path / "a", "mine")
    assert (tmp_path / "theirs").read_text() == "theirs"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two other users")
def test_what_another_user_left_stops_nobody_in_a_shared_folder(monkeypatch) -> None:
    folder = Path(mkdtemp(dir="/tmp"))  # pytest's own are closed to others
    try:
        folder.chmod(0o777)
        left = folder / ".a.part"
        left.write_text("half")
        os.chown(left, 1001, 1001)
        left.chmod(0o644)
        assert as_user(1002, lambda: write_text(folder / "a", "whole")) == 0
        assert (folder / "a").read_text() == "whole" and os.listdir(folder) == ["a"]
        folder.chmod(0o755)
        assert as_user(1002, lambda: write_text(folder / "b", "whole")) == 1
        with pytest.raises(StorageError, match="Permission denied"), monkeypatch.context() as as_if:
            as_if.setattr(os, "open", refused)
            write_text(folder / "b", "whole")
    finally:
        shutil.rmtree(folder)


def refused(*_: object, **__: object) -> int:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def as_user(user: int, work: Callable[[], None]) -> int:
    """0, or 1 if the work ended in a StorageError."""
    child = os.fork()
    if not child:
        code = 70
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            work()
            code = 0
        except StorageError:
            code = 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_sha256(tmp_path) -> None:
    write_text(tmp_path / "a", "abc")
    assert sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")


def test_a_named_root_must_exist(tmp_path, monkeypatch) -> None:
    assert storage_root(str(tmp_path)) == tmp_path
    with pytest.raises(StorageError, match="does not exist"):
        storage_root(str(tmp_path / "missing"))
    monkeypatch.setenv("FFTUNE_STORAGE", str(tmp_path / "elsewhere"))
    with pytest.raises(StorageError, match="elsewhere' does not exist"):
        storage_root()
    with pytest.raises(StorageError, match="missing' does not exist; `mkdir -p /\\S+` makes it"):
        storage_root(str(tmp_path / "missing"))
    with pytest.raises(StorageError, match=r"b' does not exist; name another$"):  # no command fits
        storage_root(str(tmp_path / "a\nb"))
    with pytest.raises(StorageError, match="not a folder"):
        storage_root("s3://bucket/x")


def test_the_default_root_is_made(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("FFTUNE_STORAGE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage_root() == tmp_path / ".local/share/fftune"
    assert storage_root().is_dir()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_mode_that_the_user_gives_files(tmp_path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new/a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "new/a").stat().st_mode & 0o777 == mode
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o777 & ~umask


def special(folder: Path) -> dict[str, Path]:
    """Things that are no files, by what a message calls them."""
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(folder / "socket"))  # whose path must be short
    (folder / "link").symlink_to("/dev/full")
    found = {"a pipe": folder / "pipe", "a folder": folder / "folder"}
    return found | {"a socket": folder / "socket", "a device": folder / "link"}


def test_what_is_no_file_is_neither_replaced_nor_read(tmp_path) -> None:
    """Root that wrote rows to /dev/full had a file in its place."""
    for what, path in special(tmp_path).items():
        before = path.lstat()
        for use in (
            lambda path=path: write_text(path, "x"),
            lambda path=path: read_plain(str(path)),
            lambda path=path: _record(path).check(BatteryConfig()),
        ):
            with pytest.raises((StorageError, ModelError), match=f"is {what}, and a file is need"):
                use()
        assert path.lstat() == before
    with pytest.raises(StorageError, match=r"^rows: there is no folder '.*/missing'$"):
        _record(tmp_path / "missing/rows.parquet").check(BatteryConfig())
    assert not (tmp_path / "missing").exists()


def _record(rows: Path) -> EvaluationRecord:
    return EvaluationRecord(
        root=rows.parent, threat=ThreatModel(), defense=DefenseConfig(), data="digits", rows=rows
    )
