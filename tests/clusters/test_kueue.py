"""kueue.yaml against the rules of KubeRay and Kueue, and beside kuberay.yaml."""

import copy
from typing import Any

import pytest

from tests.clusters.files import kuberay, queued
from tests.clusters.kuberay_rules import queued_rules

CLUSTER = ("spec", "rayClusterSpec")
GROUP = (*CLUSTER, "workerGroupSpecs", 0)
ABSENT = object()
MISTAKES: list[tuple[tuple[str | int, ...], object]] = [
    (("metadata", "labels"), {}),
    (("metadata", "name"), "f" * 48),
    (("spec", "suspend"), ABSENT),
    (("spec", "suspend"), False),
    (("spec", "shutdownAfterJobFinishes"), ABSENT),
    (("spec", "ttlSecondsAfterFinished"), -1),
    (("spec", "backoffLimit"), -1),
    (("spec", "backofLimit"), 3),
    (("spec", "clusterSelector"), {"ray.io/cluster": "fftune"}),
    (("spec", "rayClusterSpec"), ABSENT),
    ((*CLUSTER, "enableInTreeAutoscaling"), True),
    ((*CLUSTER, "rayVersion"), "2.52.0"),
    ((*CLUSTER, "authOptions"), ABSENT),
    ((*GROUP, "template", "metadata", "lables"), {}),
    ((*GROUP, "minReplicas"), 5),
]


def test_kueue_and_the_operator_would_accept_it() -> None:
    assert queued_rules(queued()[0]) == []


@pytest.mark.parametrize(("path", "value"), MISTAKES)
def test_each_rule_of_a_queued_job_notices(path: tuple[str | int, ...], value: object) -> None:
    job = copy.deepcopy(queued()[0])
    place: Any = job
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if value is ABSENT:
        del place[path[-1]]
    assert queued_rules(job)


def test_what_is_taken_away_goes_on() -> None:
    spec = queued()[0]["spec"]
    assert "--resume" in spec["entrypoint"].split()
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"]) == (3, 600)


def test_its_pods_are_those_of_the_other_file() -> None:
    """Users, powers, volumes, tolerations, affinity and resources; only its MLflow is elsewhere."""
    (cluster, _), (job, _) = kuberay(), queued()
    theirs, ours = cluster["spec"], job["spec"]["rayClusterSpec"]
    pairs = [
        (theirs["headGroupSpec"], ours["headGroupSpec"]),
        (theirs["workerGroupSpecs"][0], ours["workerGroupSpecs"][0]),
    ]
    for there, here in pairs:
        assert there["labels"] == here["labels"]
        one, other = there["template"]["spec"], here["template"]["spec"]
        assert {**one, "containers": 0} == {**other, "containers": 0}
        main, twin = one["containers"][0], other["containers"][0]
        assert len(other["containers"]) == 1
        assert {**main, "env": 0} == {**twin, "env": 0}
        env = {entry["name"]: entry.get("value") for entry in twin["env"]}
        assert env["MLFLOW_TRACKING_URI"] == "TRACKING_SERVER"
        assert env["FFTUNE_STORAGE"] == "/mnt/fftune/storage"


def test_no_other_pod_reaches_a_queued_job() -> None:
    job, policy = queued()
    ours, spec = {"fftune/job": "queued"}, job["spec"]["rayClusterSpec"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert group["template"]["metadata"]["labels"] == ours
    assert policy["spec"]["podSelector"] == {"matchLabels": ours}
    members, job_api = policy["spec"]["ingress"]
    assert members == {"from": [{"podSelector": {"matchLabels": ours}}]}
    named = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert job_api["from"][0] == {"podSelector": {"matchLabels": named}}
