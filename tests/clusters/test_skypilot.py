"""skypilot.yaml: fields of SkyPilot 0.14.1's schema (read on 2026-11-27), and what must agree."""

import copy
import re
from typing import Any

import pytest
import yaml

from tests.clusters.files import CHECKOUT, CLUSTERS, IMAGE, unknown

KEYS: dict[str, Any] = {
    **dict.fromkeys(("name", "workdir", "num_nodes", "setup", "run", "envs", "secrets")),
    "resources": {
        **dict.fromkeys(("infra", "accelerators", "cpus", "memory", "disk_size", "disk_tier")),
        **dict.fromkeys(("use_spot", "image_id", "ports", "labels", "any_of", "ordered")),
        "job_recovery": dict.fromkeys(
            ("strategy", "max_restarts_on_errors", "recover_on_exit_codes")
        ),
    },
    "file_mounts": {"/mnt/fftune": dict.fromkeys(("name", "source", "store", "mode", "config"))},
}
STRATEGIES = ("FAILOVER", "EAGER_NEXT_REGION")
MODES = ("MOUNT", "COPY", "MOUNT_CACHED")


def job() -> dict[str, Any]:
    """The file."""
    read: dict[str, Any] = yaml.safe_load((CLUSTERS / "skypilot.yaml").read_text())
    return read


def broken(task: dict[str, Any]) -> list[str]:
    """What SkyPilot would refuse, or what would lose a study."""
    found = unknown(task, KEYS)
    resources, mounts = task.get("resources", {}), task.get("file_mounts", {})
    if not all(isinstance(value, str) for value in task.get("envs", {}).values()):
        found.append("variables are strings")
    recovery = resources.get("job_recovery", {})
    if recovery.get("strategy") not in STRATEGIES:
        found.append("strategy")
    if not (resources.get("use_spot") and recovery.get("max_restarts_on_errors", 0) > 0):
        found.append("neither spot nor tried again")
    if [mount.get("mode") for mount in mounts.values()] != ["MOUNT_CACHED"]:
        found.append("a bucket that is not cached takes no appended line")
    storage = task.get("envs", {}).get("FFTUNE_STORAGE", "")
    if not any(storage.startswith(f"{place}/") for place in mounts):
        found.append("results are not in the bucket")
    if "--resume" not in task.get("run", "").split():
        found.append("begins anew at each recovery")
    if resources.get("image_id") != f"docker:{IMAGE}":
        found.append("not the image of the pins")
    return found


def test_skypilot_would_accept_it() -> None:
    assert broken(job()) == []


ABSENT = object()
MISTAKES: list[tuple[tuple[str, ...], object]] = [
    (("resources", "use_spott"), True),
    (("resources", "use_spot"), False),
    (("resources", "job_recovery", "strategy"), "EAGER"),
    (("resources", "job_recovery", "max_restarts_on_errors"), 0),
    (("resources", "image_id"), "docker:rayproject/ray:2.40.0"),
    (("file_mounts", "/mnt/fftune", "mode"), "MOUNT"),
    (("envs", "FFTUNE_STORAGE"), "/tmp/storage"),
    (("envs", "RAY_USAGE_STATS_ENABLED"), 0),
    (("run",), "python -m fftune.sweep thrm"),
]


@pytest.mark.parametrize(("path", "value"), MISTAKES)
def test_each_rule_of_a_managed_job_notices(path: tuple[str, ...], value: object) -> None:
    task = copy.deepcopy(job())
    place: Any = task
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert broken(task)


def test_its_commands_are_bash_and_fftunes() -> None:
    """The set-up is the one of every machine; SkyPilot's own Ray is not joined."""
    task = job()
    assert task["setup"].strip() == "clusters/setup.sh --system --python python"
    lines = [line.split("  #")[0].strip() for line in task["run"].strip().splitlines()]
    assert lines[0] == "unset RAY_ADDRESS"
    assert re.fullmatch(r"python -m fftune\.sweep thrm( \S+)*", lines[-1])


def test_no_secret_is_sent_along() -> None:
    """SkyPilot reads .skyignore, by the same rules as Ray's .rayignore."""
    ours = CHECKOUT / ".skyignore"
    assert ours.is_symlink() and ours.resolve() == (CHECKOUT / ".rayignore").resolve()
