"""kuberay.yaml against the rules of KubeRay, which tests/clusters/kuberay_rules.py holds."""

import copy
import re
from typing import Any

import pytest

from tests.clusters.files import CLUSTERS, kuberay, network_policy
from tests.clusters.kuberay_rules import broken_rules


def test_the_operator_would_accept_it() -> None:
    assert broken_rules(*kuberay()) == []


HEAD = ("spec", "headGroupSpec", "template", "spec")
GROUPS = ("spec", "workerGroupSpecs", 0)
WORKER = (*GROUPS, "template", "spec")
ABSENT = object()
MISTAKES: list[tuple[int, tuple[str | int, ...], object]] = [
    (0, ("apiVersion",), "ray.io/v1alpha1"),
    (1, ("kind",), "RayService"),
    (0, ("spec", "enableInTreeAutoscalling"), True),
    (0, (*HEAD, "containers", 0, "imag"), "x"),
    (0, ("metadata", "name"), "1_fftune"),
    (0, ("spec", "rayVersion"), "2.52.0"),
    (0, ("spec", "authOptions"), ABSENT),
    (0, ("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
    (0, (*HEAD, "containers", 0, "name"), "head"),
    (0, (*HEAD, "containers", 1, "name"), "ray-head"),
    (0, (*GROUPS, "minReplicas"), 9),
    (0, (*GROUPS, "groupName"), "GPU"),
    (0, (*WORKER, "restartPolicy"), "Always"),
    (0, (*WORKER, "volumes"), []),
    (0, (*WORKER, "containers", 0, "resources", "limits", "nvidia.com/gpu"), ABSENT),
    (0, (*WORKER, "containers", 0, "resources", "requests"), ABSENT),
    (1, ("spec", "entrypoint"), ABSENT),
    (1, ("spec", "clusterSelector"), {"ray.io/cluster": "other"}),
    (1, ("spec", "clusterSelector"), ABSENT),
    (1, ("spec", "backoffLimit"), 2),
    (1, ("spec", "activeDeadlineSeconds"), 0),
]


@pytest.mark.parametrize(("document", "path", "value"), MISTAKES)
def test_each_rule_notices(document: int, path: tuple[str | int, ...], value: object) -> None:
    both = copy.deepcopy(kuberay())
    place: Any = both[document]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if value is ABSENT:
        del place[path[-1]]
    assert broken_rules(*both)


def test_workers_have_gpus_and_there_may_be_none() -> None:
    cluster, _ = kuberay()
    assert cluster["spec"]["enableInTreeAutoscaling"] is True
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert (group["minReplicas"], group["replicas"]) == (0, 0)
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert int(limits["nvidia.com/gpu"]) >= 1


def test_ray_knows_storage_and_data_everywhere() -> None:
    cluster, _ = kuberay()
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        env = {entry["name"]: entry.get("value") for entry in pod["containers"][0]["env"]}
        assert env["FFTUNE_STORAGE"] == "/mnt/fftune/storage"
        assert env["FFTUNE_DATA"] == "/mnt/fftune/data"
        claims = [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        assert [mounts[claim["name"]] for claim in claims] == ["/mnt/fftune"]


def test_nothing_is_open_beyond_the_kubernetes_cluster() -> None:
    cluster, _ = kuberay()
    assert cluster["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    text = (CLUSTERS / "kuberay.yaml").read_text()
    assert not re.search(
        "hostPort|hostNetwork|NodePort|LoadBalancer|privileged|enableIngress", text
    )


def test_no_other_pod_reaches_the_cluster() -> None:
    """KubeRay gives every pod of a cluster the label, and a job's pod has Kubernetes' own."""
    policy, (cluster, job) = network_policy(), kuberay()
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    spec, ours = policy["spec"], {"ray.io/cluster": cluster["metadata"]["name"]}
    assert spec["podSelector"] == {"matchLabels": ours}
    assert spec["policyTypes"] == ["Ingress"]
    members, job_api = spec["ingress"]
    assert members == {"from": [{"podSelector": {"matchLabels": ours}}]}
    assert job_api["ports"] == [{"protocol": "TCP", "port": 8265}]
    submitter, operator = job_api["from"]
    named = {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert submitter == {"podSelector": {"matchLabels": named}}
    assert operator["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}


def test_no_container_is_root_or_can_become_it() -> None:
    cluster, _ = kuberay()
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    for pod in (group["template"]["spec"] for group in groups):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 1000  # `ray` of Ray's images
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
