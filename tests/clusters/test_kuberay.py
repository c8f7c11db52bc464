"""kuberay.yaml against the rules of KubeRay's own CRD and operator (read on 2026-11-21).

The fields are those of the CRD at KubeRay's commit of 2026-08-19 (1.7); the rules are those of the
operator's validation. There is no validator outside of Go.
"""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clusters.files import CLUSTERS, PINS, kuberay, network_policy, unknown

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # DNS-1035
CONTAINER = dict.fromkeys(
    (
        *("name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "ports"),
        *("resources", "volumeMounts", "securityContext", "lifecycle", "workingDir"),
    )
)
POD: dict[str, Any] = {
    "metadata": None,
    "spec": {
        **dict.fromkeys(("restartPolicy", "securityContext", "tolerations", "nodeSelector")),
        **dict.fromkeys(("affinity", "volumes", "serviceAccountName", "imagePullSecrets")),
        "containers": CONTAINER,
        "initContainers": CONTAINER,
    },
}
GROUP: dict[str, Any] = {
    **dict.fromkeys(("rayStartParams", "labels", "resources")),
    "template": POD,
}
TOP = dict.fromkeys(("apiVersion", "kind", "metadata"))
CLUSTER: dict[str, Any] = {
    **TOP,
    "spec": {
        **dict.fromkeys(("rayVersion", "enableInTreeAutoscaling", "headServiceAnnotations")),
        "authOptions": dict.fromkeys(("mode", "secretName", "enableK8sTokenAuth")),
        "autoscalerOptions": dict.fromkeys(
            (
                *("version", "upscalingMode", "idleTimeoutSeconds", "resources", "env"),
                *("envFrom", "image", "imagePullPolicy", "securityContext", "volumeMounts"),
            )
        ),
        "headGroupSpec": {
            **GROUP,
            **dict.fromkeys(("serviceType", "enableIngress", "headService")),
        },
        "workerGroupSpecs": {
            **GROUP,
            **dict.fromkeys(("groupName", "replicas", "minReplicas", "maxReplicas")),
            **dict.fromkeys(("numOfHosts", "idleTimeoutSeconds", "priority", "suspend")),
        },
    },
}
JOB: dict[str, Any] = {
    **TOP,
    "spec": {
        **dict.fromkeys(("entrypoint", "submissionMode", "runtimeEnvYAML", "clusterSelector")),
        **dict.fromkeys(("activeDeadlineSeconds", "preRunningDeadlineSeconds", "backoffLimit")),
        **dict.fromkeys(("shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "suspend")),
        **dict.fromkeys(("entrypointNumCpus", "entrypointNumGpus", "submitterPodTemplate")),
        "rayClusterSpec": CLUSTER["spec"],
    },
}


def broken_rules(cluster: dict[str, Any], job: dict[str, Any]) -> list[str]:
    """What the operator would refuse, or what would never start."""
    return [*unknown(cluster, CLUSTER), *unknown(job, JOB), *_cluster(cluster), *_job(job, cluster)]


def _cluster(cluster: dict[str, Any]) -> Iterator[str]:
    yield from _top(cluster, "RayCluster", 53)
    spec = cluster["spec"]
    if spec.get("rayVersion") != PINS["ray"]:
        yield "rayVersion is not the pin"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "no token"
    yield from _pod(spec["headGroupSpec"], "head", "ray-head")
    names = [group.get("groupName", "") for group in spec.get("workerGroupSpecs", ())]
    if not names or len(names) != len(set(names)):
        yield "worker groups need names of their own"
    for group, name in zip(spec.get("workerGroupSpecs", ()), names, strict=True):
        if not LABEL.fullmatch(name):
            yield f"group name {name!r}"
        if not 0 <= group["minReplicas"] <= group.get("replicas", 0) <= group["maxReplicas"]:
            yield f"{name}: replicas"
        yield from _pod(group, name, "ray-worker")


def _pod(group: dict[str, Any], name: str, main: str) -> Iterator[str]:
    """Of a head or a group of workers; Ray runs in the first container."""
    params = group.get("rayStartParams", {})
    if not all(isinstance(value, str) for value in params.values()):
        yield f"{name}: rayStartParams are strings"
    pod = group["template"]["spec"]
    containers = [container["name"] for container in pod["containers"]]
    if containers[0] != main or len(containers) != len(set(containers)):
        yield f"{name}: containers {containers}"
    if pod.get("restartPolicy", "Never") != "Never":
        yield f"{name}: autoscaler v2 wants restartPolicy Never"
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for container in pod["containers"]:
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        if mounted - volumes:
            yield f"{name}: no volume {sorted(mounted - volumes)}"
        needs = container.get("resources", {})
        if (
            not {"cpu", "memory"}
            <= needs.get("requests", {}).keys() & needs.get("limits", {}).keys()
        ):
            yield f"{name}: {container['name']} has no requests and limits"
        gpus = [needs.get(which, {}).get("nvidia.com/gpu") for which in ("requests", "limits")]
        if gpus[0] != gpus[1] or any(not isinstance(gpu, str) for gpu in gpus if gpu is not None):
            yield f"{name}: GPUs are requested as they are limited, as a quantity"
        for port in container.get("ports", ()):
            if len(port.get("name", "")) > 15 or "hostPort" in port:
                yield f"{name}: port {port}"


def _job(job: dict[str, Any], cluster: dict[str, Any]) -> Iterator[str]:
    yield from _top(job, "RayJob", 47)
    spec = job["spec"]
    chosen = spec.get("clusterSelector", {}).get("ray.io/cluster")
    if not spec.get("entrypoint"):
        yield "no entrypoint"
    if ("rayClusterSpec" in spec) == bool(chosen):
        yield "one of rayClusterSpec and clusterSelector"
    if chosen:
        if chosen != cluster["metadata"]["name"]:
            yield f"cluster {chosen!r} is not the first document's"
        if (
            spec.get("backoffLimit", 0)
            or spec.get("suspend")
            or spec.get("submissionMode") == "SidecarMode"
        ):
            yield "not with a cluster that exists"
    elif not spec.get("shutdownAfterJobFinishes"):
        yield "the job's own cluster would stay"
    if spec.get("submissionMode") not in (
        None,
        "K8sJobMode",
        "HTTPMode",
        "SidecarMode",
        "InteractiveMode",
    ):
        yield "submissionMode"
    if any(spec.get(key, 1) <= 0 for key in ("activeDeadlineSeconds", "preRunningDeadlineSeconds")):
        yield "deadlines are positive"


def _top(document: dict[str, Any], kind: str, longest: int) -> Iterator[str]:
    if (document["apiVersion"], document["kind"]) != ("ray.io/v1", kind):
        yield f"not a {kind} of ray.io/v1"
    name = document["metadata"]["name"]
    if not LABEL.fullmatch(name) or len(name) > longest:
        yield f"name {name!r}"


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
