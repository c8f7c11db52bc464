"""The files of `clusters/`, read once, and what they must agree with."""

import re
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
CLUSTERS = CHECKOUT / "clusters"
PROVIDERS = ("aws", "gcp", "azure")
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (CHECKOUT / "constraints.txt").read_text(), re.M))
IMAGE = f"rayproject/ray:{PINS['ray']}-py311-gpu"
"""Ray's tag at the project's pins; constraints.txt is resolved for Python 3.11."""


def launcher(provider: str) -> dict[str, Any]:
    """A cluster launcher's file."""
    config: dict[str, Any] = yaml.safe_load((CLUSTERS / f"{provider}.yaml").read_text())
    return config


def kuberay() -> tuple[dict[str, Any], dict[str, Any]]:
    """The cluster and the job."""
    cluster, job, _ = yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text())
    return cluster, job


def queued() -> tuple[dict[str, Any], dict[str, Any]]:
    """The job of kueue.yaml, and its network policy."""
    job, policy = yaml.safe_load_all((CLUSTERS / "kueue.yaml").read_text())
    return job, policy


def network_policy() -> dict[str, Any]:
    """The third document of kuberay.yaml."""
    policy: dict[str, Any] = list(yaml.safe_load_all((CLUSTERS / "kuberay.yaml").read_text()))[2]
    return policy


def unknown(config: Any, known: Any, at: str = "") -> list[str]:
    """Paths of keys that are in `config` and not in `known`.

    Args:
        known: a dictionary whose values say the same of what lies below; None allows anything.
    """
    if known is None:
        return []
    if isinstance(config, list):
        return [path for one in config for path in unknown(one, known, at)]
    if not isinstance(config, dict):
        return [f"{at}: a mapping is expected"] if known else []
    found = []
    for key, value in config.items():
        path = f"{at}.{key}".lstrip(".")
        found += unknown(value, known[key], path) if key in known else [path]
    return found
