"""clusters/README.md: ten lines a cluster, which fit the files."""

import re
import subprocess

import pytest

from tests.clusters.files import CLUSTERS, PROVIDERS

README = (CLUSTERS / "README.md").read_text()
BLOCKS = dict(re.findall(r"^## ([^\n]+)\n+```sh\n(.*?)```", README, re.M | re.S))
TITLES = {
    "aws": "AWS",
    "gcp": "Google Cloud",
    "azure": "Azure",
    "kuberay": "Kubernetes",
    "kueue": "Kueue",
    "skypilot": "SkyPilot",
}
SUBMIT = re.compile("ray job submit|kubectl apply|sky jobs launch")


def test_every_cluster_has_its_lines() -> None:
    assert list(BLOCKS) == ["This machine", *TITLES.values(), "A bare head"]


@pytest.mark.parametrize("title", list(BLOCKS))
def test_ten_lines_from_an_account_to_a_sweep(title: str) -> None:
    lines = BLOCKS[title].splitlines()
    assert len(lines) <= 10
    assert any(SUBMIT.search(line) for line in lines)
    assert any("python -m fftune" in line for line in lines)
    subprocess.run(["bash", "-n"], input=BLOCKS[title], text=True, check=True)


@pytest.mark.parametrize("name", list(TITLES))
def test_whatever_is_yours_is_filled_in(name: str) -> None:
    text = (CLUSTERS / f"{name}.yaml").read_text()
    (yours,) = re.findall(r"In capitals stands what is\s(?:# )?yours: ((?:.|\n# )*)", text)
    blanks = set(re.findall(r"\b[A-Z_]{7,}\b", yours))
    assert blanks
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for blank in blanks:
        assert re.search(rf"\b{blank}\b", body)
        assert re.search(rf"s[/|]{blank}[/|]", BLOCKS[TITLES[name]])
    assert f"clusters/{name}.yaml" in BLOCKS[TITLES[name]]
    if name != "skypilot":  # whose machines are reached by ssh alone
        assert "clusters/token.sh" in BLOCKS[TITLES[name]]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_names_that_ray_makes_up_are_those_of_the_file(provider: str) -> None:
    text = (CLUSTERS / f"{provider}.yaml").read_text()
    if provider == "azure":  # ray-CLUSTER-UNIQUE_ID-vnet
        assert "cluster_name: fftune\n" in text and "unique_id: main\n" in text
        assert "ray-fftune-main-vnet" in BLOCKS["Azure"]
        assert "subnet_mask: 10.77.0.0/16" in text and "10.77.0.0/16" in BLOCKS["Azure"]
    if provider == "aws":
        assert "GroupName: fftune\n" in text and "--group-name fftune " in BLOCKS["AWS"]
    if provider == "gcp":
        assert (
            "FILESTORE:/fftune " in text and "--file-share name=fftune," in BLOCKS["Google Cloud"]
        )
