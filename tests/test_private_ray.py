"""Other users of this machine, and the files of a private Ray."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fftune import private_ray
from fftune import ray_cluster as cluster  # before Ray, whose start it sets
from fftune.config import Resources
from fftune.errors import ClusterError

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
TAKE = """
cd {ray} && ls; cd {ray}/session && rm -f package.py && echo code > package.py
mv {ray} {ray}.old; rmdir {above}; mv {above} {above}.old; chmod 777 {above}; ls {above}
"""
"""All that a user may try on another one's folder."""


@pytest.fixture
def tmp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder like /tmp: everybody's, with names that their owners alone change."""
    place = Path(tempfile.mkdtemp(prefix="d", dir="/tmp"))
    place.chmod(0o1777)
    monkeypatch.setenv("RAY_TMPDIR", str(place))
    yield place
    shutil.rmtree(place)


def as_nobody(script: str) -> subprocess.CompletedProcess[str]:
    ids = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd="/", **ids)


@needs_root
def test_another_user_cannot_reach_rays_files(tmp: Path) -> None:
    above = private_ray.private_temp()
    ray = above / "ray"
    (ray / "session").mkdir(parents=True)
    (ray / "session/package.py").write_text("ours")
    for folder in (ray, ray / "session"):
        folder.chmod(0o777)  # as Ray does
    tried = as_nobody(TAKE.format(ray=ray, above=above))
    assert (tried.stdout, len(tried.stderr.splitlines())) == ("", 7), tried.stderr
    assert (ray / "session/package.py").read_text() == "ours"
    above.chmod(0o755)  # the same, where the door is open
    assert "session" in as_nobody(TAKE.format(ray=ray, above=above)).stdout
    assert (ray / "session/package.py").read_text() == "code\n"


@needs_root
@pytest.mark.parametrize("prepared", ["mkdir -m 777 {}", "ln -s /tmp {}", "touch {}"])
def test_what_another_user_has_prepared_is_not_taken(tmp: Path, prepared: str) -> None:
    theirs = tmp / f"fftune-{os.getuid()}"
    assert as_nobody(prepared.format(theirs)).returncode == 0
    for _ in range(2):
        found = private_ray.private_temp()
        assert found != theirs and found.parent == tmp and not found.is_symlink()
        assert (found.stat().st_uid, stat.S_IMODE(found.stat().st_mode)) == (os.getuid(), 0o700)


def test_a_private_ray_has_its_files_there(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(cluster.ray, "init", lambda **options: asked.update(options))
    above = tmp / f"fftune-{os.getuid()}"
    for mode in (0o700, 0o777):  # the second time it is there, with another mode
        with cluster.cluster(Resources()):
            assert asked["_temp_dir"] == str(above / "ray")
        assert stat.S_IMODE(above.stat().st_mode) == 0o700
        above.chmod(mode)


def test_a_temporary_folder_that_is_too_long_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(str(tmp_path)) > 15
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert private_ray.short_temp() == Path("/tmp")
    with monkeypatch.context() as full:
        full.setattr(private_ray, "may_write", lambda folder: folder == tmp_path)
        with pytest.raises(ClusterError, match="'/tmp' cannot be written; set TMPDIR") as told:
            private_ray.private_temp()
    assert "\n" not in str(told.value)
    monkeypatch.setenv("RAY_TMPDIR", "/var/tmp")
    assert private_ray.short_temp() == Path("/var/tmp")


def test_trials_are_given_no_keys_of_the_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's dashboard shows the runtime environment of every actor, and Tune puts them there."""
    from ray.tune.execution.class_cache import _ActorClassCache

    from fftune.sweeping import ray_tune

    class Trainable:
        pass

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    given = _ActorClassCache().get(Trainable)._default_options["runtime_env"]["env_vars"]
    assert "canary" not in given.values() and given["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    assert {"RAY_CHDIR_TO_TRIAL_DIR"} <= ray_tune.ENV_VARS_TO_PROPAGATE
