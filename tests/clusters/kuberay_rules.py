"""Rules of KubeRay's CRD, of its operator and of Kueue's webhook for RayJobs.

The fields are those of the CRD at KubeRay's commit of 2026-08-19 (1.7); the rules are those of the
operator's validation, and of Kueue's webhook of 2026-08-22. There is no validator outside of Go.
"""

import re
from collections.abc import Iterator
from typing import Any

from tests.clusters.files import PINS, unknown

LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")  # DNS-1035
CONTAINER = dict.fromkeys(
    (
        *("name", "image", "imagePullPolicy", "command", "args", "env", "envFrom", "ports"),
        *("resources", "volumeMounts", "securityContext", "lifecycle", "workingDir"),
    )
)
POD: dict[str, Any] = {
    "metadata": {"labels": None},
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


def queued_rules(job: dict[str, Any]) -> list[str]:
    """What the operator or Kueue would refuse of a job with a cluster of its own."""
    if "rayClusterSpec" not in job["spec"]:
        return ["no cluster of its own"]
    inner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": job["metadata"]}
    inner["spec"] = job["spec"]["rayClusterSpec"]
    return [*unknown(job, JOB), *_cluster(inner), *_job(job, inner), *_queued(job)]


def _queued(job: dict[str, Any]) -> Iterator[str]:
    """Of Kueue, which starts a job by lifting `suspend`, and counts whole clusters."""
    spec, labels = job["spec"], job["metadata"].get("labels", {})
    if not labels.get("kueue.x-k8s.io/queue-name"):
        yield "no queue"
    if spec.get("suspend") is not True:
        yield "started before it is admitted"
    if spec["rayClusterSpec"].get("enableInTreeAutoscaling"):
        yield "grows beyond what was admitted"
    if len(spec["rayClusterSpec"].get("workerGroupSpecs", ())) > 17:
        yield "more groups than a workload may have"


def _job(job: dict[str, Any], cluster: dict[str, Any]) -> Iterator[str]:
    yield from _top(job, "RayJob", 47)
    spec = job["spec"]
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield "a job whose cluster stays cannot be suspended"
    if spec.get("ttlSecondsAfterFinished", 0) and not spec.get("shutdownAfterJobFinishes"):
        yield "nothing is shut down after that time"
    if min(spec.get(key, 0) for key in ("backoffLimit", "ttlSecondsAfterFinished")) < 0:
        yield "tries and seconds are not negative"
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
