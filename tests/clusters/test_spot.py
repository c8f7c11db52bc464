"""Studies are led from machines that stay, trials run on spot: in every cluster's file."""

from typing import Any

import pytest

from tests.clusters.files import PROVIDERS, kuberay, launcher, queued

SPOT = {
    "cloud.google.com/gke-spot": "true",
    "eks.amazonaws.com/capacityType": "SPOT",
    "kubernetes.azure.com/scalesetpriority": "spot",
    "karpenter.sh/capacity-type": "spot",
}
"""The label and value that mark a spot node, of each provider."""
TAINTED = ("cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority")
"""Labels that are taints as well; EKS and Karpenter set none."""
CLUSTERS = {"kuberay": kuberay()[0]["spec"], "kueue": queued()[0]["spec"]["rayClusterSpec"]}


def fits(node: dict[str, str], terms: list[dict[str, Any]]) -> bool:
    """Whether a node's labels satisfy one of the terms of a node affinity."""
    return any(
        all(
            (node.get(rule["key"]) in rule["values"]) == (rule["operator"] == "In")
            for rule in term["matchExpressions"]
        )
        for term in terms
    )


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_no_head_is_on_a_spot_node(name: str) -> None:
    pod = CLUSTERS[name]["headGroupSpec"]["template"]["spec"]
    affinity = pod["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert fits({}, terms) and fits({"karpenter.sh/capacity-type": "on-demand"}, terms)
    for label, value in SPOT.items():
        assert not fits({label: value}, terms)
    assert CLUSTERS[name]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert "tolerations" not in pod


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_trials_prefer_spot_nodes_and_stand_their_taints(name: str) -> None:
    pod = CLUSTERS[name]["workerGroupSpecs"][0]["template"]["spec"]
    affinity = pod["affinity"]["nodeAffinity"]
    wishes = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    for label, value in SPOT.items():
        weight = sum(w["weight"] for w in wishes if fits({label: value}, [w["preference"]]))
        assert weight == 100
    assert not any(fits({}, [wish["preference"]]) for wish in wishes)
    tolerated = {t["key"]: t.get("value") for t in pod["tolerations"] if t["operator"] == "Equal"}
    assert tolerated == {label: SPOT[label] for label in TAINTED}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_ray_knows_which_machines_may_go(provider: str) -> None:
    config = launcher(provider)
    for name, node in config["available_node_types"].items():
        head = name == config["head_node_type"]
        assert node["labels"] == {"ray.io/market-type": "on-demand" if head else "spot"}


@pytest.mark.parametrize("name", list(CLUSTERS))
def test_ray_knows_what_each_pod_is_for(name: str) -> None:
    assert CLUSTERS[name]["headGroupSpec"]["labels"] == {"fftune/part": "lead"}
    assert [g["labels"] for g in CLUSTERS[name]["workerGroupSpecs"]] == [{"fftune/part": "trials"}]
