"""aws.yaml, gcp.yaml, azure.yaml: Ray's schema, and what it does not look at."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.clusters.files import CLUSTERS, IMAGE, PROVIDERS, launcher, unknown

RAY = Path(ray.autoscaler.__file__).parent

# Looked up on 2026-11-21: CPUs and GPUs of the types in use.
TYPES = {
    "aws": {"m7i.2xlarge": (8, 0), "g6e.2xlarge": (8, 1), "p5.4xlarge": (16, 1)},
    "gcp": {"n2-standard-8": (8, 0), "g2-standard-16": (16, 1), "a3-highgpu-1g": (26, 1)},
    "azure": {
        "Standard_D8s_v5": (8, 0),
        "Standard_NC24ads_A100_v4": (24, 1),
        "Standard_NC40ads_H100_v5": (40, 1),
    },
}
# Looked up on 2026-11-21. torch 2.14 brings CUDA 13, which needs driver 580 or newer.
IMAGES = {
    "aws": "resolve:ssm:/aws/service/deeplearning/ami/x86_64/"
    "base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
    "gcp": "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580",
    "azure": "microsoft-dsvm:ubuntu-hpc:2404:latest",
}
# What the providers' own interfaces know: EC2 RunInstances, Compute Engine instances.insert.
KEYS: dict[str, Any] = {
    "aws": {
        **dict.fromkeys(("InstanceType", "ImageId", "KeyName", "SubnetIds", "SecurityGroupIds")),
        **dict.fromkeys(("IamInstanceProfile", "NetworkInterfaces", "Placement", "EbsOptimized")),
        "BlockDeviceMappings": {
            "DeviceName": None,
            "Ebs": dict.fromkeys(("VolumeSize", "VolumeType", "Iops", "Throughput", "Encrypted")),
        },
        "InstanceMarketOptions": {
            "MarketType": None,
            "SpotOptions": dict.fromkeys(("MaxPrice", "SpotInstanceType")),
        },
    },
    "gcp": {
        **dict.fromkeys(("machineType", "networkInterfaces", "metadata", "labels", "tags")),
        "serviceAccounts": dict.fromkeys(("email", "scopes")),
        "disks": {
            **dict.fromkeys(("boot", "autoDelete", "type")),
            "initializeParams": dict.fromkeys(("diskSizeGb", "diskType", "sourceImage")),
        },
        "guestAccelerators": dict.fromkeys(("acceleratorType", "acceleratorCount")),
        "scheduling": dict.fromkeys(
            (
                *("provisioningModel", "instanceTerminationAction", "onHostMaintenance"),
                *("automaticRestart", "preemptible"),
            )
        ),
    },
}
TEMPLATE = json.loads((RAY / "_private/_azure/azure-vm-template.json").read_text())
KEYS["azure"] = {
    "azure_arm_parameters": dict.fromkeys([*TEMPLATE["parameters"], "availability_zone"]),
    "tags": None,
}


def machine(provider: str, node: dict[str, Any]) -> str:
    """The type of a node's machine."""
    config = node["node_config"]
    if provider == "azure":
        return str(config["azure_arm_parameters"]["vmSize"])
    return str(config["InstanceType" if provider == "aws" else "machineType"])


def image(provider: str, node: dict[str, Any]) -> str:
    config = node["node_config"]
    if provider == "aws":
        return str(config["ImageId"])
    if provider == "gcp":
        return str(config["disks"][0]["initializeParams"]["sourceImage"])
    names = ("imagePublisher", "imageOffer", "imageSku", "imageVersion")
    return ":".join(config["azure_arm_parameters"][name] for name in names)


def is_spot(provider: str, node: dict[str, Any]) -> bool:
    config = node["node_config"]
    if provider == "aws":
        return bool(config.get("InstanceMarketOptions", {}).get("MarketType") == "spot")
    if provider == "gcp":
        return bool(config.get("scheduling", {}).get("provisioningModel") == "SPOT")
    return bool(config["azure_arm_parameters"].get("priority") == "Spot")


def commands(config: dict[str, Any]) -> list[str]:
    return [c for name, value in config.items() if name.endswith("_commands") for c in value]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_ray_accepts_it(provider: str) -> None:
    validate_config(prepare_config(launcher(provider)))


def test_ray_refuses_what_it_can_see() -> None:
    config = launcher("aws")
    config["max_worker"] = config.pop("max_workers")
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_key_of_a_node_is_the_providers(provider: str) -> None:
    for node in launcher(provider)["available_node_types"].values():
        assert unknown(node["node_config"], KEYS[provider]) == []


@pytest.mark.parametrize(
    ("provider", "path"),
    [
        ("aws", "l40s.InstanceMarketOptions.MarketType"),
        ("aws", "head.InstanceType"),
        ("gcp", "l4.scheduling.provisioningModel"),
        ("gcp", "head.disks.initializeParams"),
        ("azure", "a100.azure_arm_parameters.priority"),
    ],
)
def test_a_typo_in_a_node_is_found(provider: str, path: str) -> None:
    node, *keys = path.split(".")
    config = copy.deepcopy(launcher(provider)["available_node_types"][node]["node_config"])
    place = config
    for key in keys[:-1]:
        place = place[key][0] if isinstance(place[key], list) else place[key]
    place[f"{keys[-1]}s"] = place.pop(keys[-1])
    assert unknown(config, KEYS[provider]) == [".".join([*keys[:-1], f"{keys[-1]}s"])]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_workers_are_spot_gpus_and_the_head_is_neither(provider: str) -> None:
    config = launcher(provider)
    nodes = dict(config["available_node_types"])
    head = nodes.pop(config["head_node_type"])
    assert TYPES[provider][machine(provider, head)][1] == 0
    assert not is_spot(provider, head)
    assert head["resources"] == {"CPU": 0}
    assert nodes
    for node in nodes.values():
        cpus, gpus = TYPES[provider][machine(provider, node)]
        assert gpus > 0
        assert is_spot(provider, node)
        # Ray asks AWS what a type has, and believes the file elsewhere.
        assert node["resources"] == ({} if provider == "aws" else {"CPU": cpus, "GPU": gpus})


@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_shrinks_to_its_head(provider: str) -> None:
    config = launcher(provider)
    nodes = config["available_node_types"]
    assert all(node.get("min_workers", 0) == 0 for node in nodes.values())
    assert all(
        0 < node["max_workers"] <= config["max_workers"] for n, node in nodes.items() if n != "head"
    )
    assert 0 < config["idle_timeout_minutes"] <= 15


@pytest.mark.parametrize("provider", PROVIDERS)
def test_images(provider: str) -> None:
    config = launcher(provider)
    assert config["docker"]["image"] == IMAGE
    nodes = config["available_node_types"].values()
    assert {image(provider, node) for node in nodes} == {IMAGES[provider]}
    dated = re.findall(
        r"looked up on (\d{4}-\d\d-\d\d)", (CLUSTERS / f"{provider}.yaml").read_text()
    )
    assert dated == ["2026-11-21"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_process_knows_storage_data_and_token(provider: str) -> None:
    config = launcher(provider)
    options = config["docker"]["run_options"]
    assert {
        "-v /mnt/fftune:/mnt/fftune",
        "-e FFTUNE_STORAGE=/mnt/fftune/storage",
        "-e FFTUNE_DATA=/mnt/fftune/data",
        "-e RAY_AUTH_MODE=token",
    } <= set(options)
    mount = [c for c in config["initialization_commands"] if "mount -t nfs" in c]
    assert len(mount) == 1 and "/mnt/fftune" in mount[0] and "hard" in mount[0]
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert config["setup_commands"][0] == "chmod 600 ~/.ray/auth_token"
    assert "~/fftune/clusters/setup.sh --system --python python" in config["setup_commands"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_head_starts_mlflow_and_keeps_rays_own_way_to_the_provider(provider: str) -> None:
    config = launcher(provider)
    start = config["head_start_ray_commands"][-1]
    assert "MLFLOW_TRACKING_URI=$(~/fftune/clusters/mlflow.sh start)" in start
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in start
    theirs = yaml.safe_load((RAY / provider / "defaults.yaml").read_text())["head_setup_commands"]
    packages = {word for command in theirs for word in re.findall(r"[\w-]+==[\w.]+|boto3", command)}
    assert packages
    assert all(any(p in c for c in config["head_setup_commands"]) for p in packages)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_door_is_open_that_need_not_be(provider: str) -> None:
    """Ray opens ssh to the world and the rest to the cluster's members; we add nothing."""
    config = launcher(provider)
    head = config["head_start_ray_commands"][-1]
    assert re.findall(r"--dashboard-host=(\S+)", head) == ["127.0.0.1"]
    assert "--ray-client-server-port" not in head
    assert config["provider"].get("security_group", {}).keys() <= {"GroupName"}
    text = " ".join([*commands(config), *config["docker"]["run_options"]])
    assert "0.0.0.0" not in text
    assert not re.search(
        r"(^| )(-p|--publish|--privileged)\b", " ".join(config["docker"]["run_options"])
    )


def test_google_clouds_machines_have_a_network_of_their_own() -> None:
    """Of the project's default network every machine reaches every port of every other."""
    for node in launcher("gcp")["available_node_types"].values():
        (interface,) = node["node_config"]["networkInterfaces"]
        assert interface["subnetwork"].endswith("/subnetworks/fftune")
        assert node["node_config"]["tags"] == {"items": ["fftune"]}
    readme = (CLUSTERS / "README.md").read_text()
    rules = re.findall(r"firewall-rules create (\S+) (.*?)(?: &&|$)", readme, re.M)
    assert dict(rules) == {
        "fftune-members": "--network fftune --allow tcp,udp,icmp --source-tags fftune "
        "--target-tags fftune",
        "fftune-ssh": "--network fftune --allow tcp:22 --target-tags fftune",
    }
    assert "--network name=fftune\n" in readme and "name=default" not in readme


@pytest.mark.parametrize("provider", PROVIDERS)
def test_secrets_stay_behind_when_the_checkout_is_copied(provider: str) -> None:
    config = launcher(provider)
    assert config["rsync_filter"] == [".gitignore", ".rayignore"]
    assert {".git/", ".venv/", ".env", "*.pem", "*.key", "auth_token"} <= set(
        config["rsync_exclude"]
    )
