"""Table 3 of Wu et al. 2021 at the smallest scale: a ResNet-50 as FastAT stores it, photographs."""

import os
from pathlib import Path

import pytest
import torch

from fftune.cli.evaluate import main
from fftune.config import DataSpec
from fftune.data.model_spec import with_inputs
from fftune.models.specs import named_spec
from fftune.outcomes import Outcomes
from tests.brief import FLAGS
from tests.integration.photo_nets import narrow

HOME = Path(os.environ.get("FFTUNE_DATA", Path.home() / ".cache/fftune/datasets"))
NETS = Path(__file__).with_name("photo_nets.py")
PHOTOGRAPHS = HOME / "imagenet-sample" / "train"

pytestmark = pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="no photographs")


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    """50 photographs of 50 classes; each is in either part, for no class has two."""
    for part in ("train", "test"):
        (tmp_path / "photographs").mkdir(exist_ok=True)
        (tmp_path / "photographs" / part).symlink_to(PHOTOGRAPHS)
    return f"folder:{tmp_path / 'photographs'}"


def test_a_name_is_a_net_for_the_datas_images(photographs: str) -> None:
    data = DataSpec(name=photographs, train_size=None, validation_size=0, image_size=64)
    spec = with_inputs(named_spec("resnet50"), data)
    assert spec.factory == "fftune:resnet50"
    assert spec.inputs.shape == (3, 64, 64) and spec.inputs.classes == 50
    assert spec.inputs.mean == (0.485, 0.456, 0.406)  # ImageNet's, which FastAT divides by too
    assert with_inputs(named_spec("a.py:net", "w.pt"), data).factory == "a.py:net"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("eps", "defense"), [(2 / 255, ()), (4 / 255, ("hedge",))])
def test_fast_ats_checkpoint_is_judged_with_and_without_a_hedge(
    photographs: str, tmp_path: Path, eps: float, defense: tuple[str, ...]
) -> None:
    """A narrow net's weights, in the file that FastAT's code writes."""
    state = narrow().net.state_dict()
    state = {f"module.{name}": value for name, value in state.items()}
    torch.save({"epoch": 15, "state_dict": state, "best_prec1": 0.0}, tmp_path / "fast_at.pth")
    rows = tmp_path / "rows.parquet"
    hedged = ("--defense", *defense, "--defense.steps", "2", "--defense.repeats", "1")
    main(
        [
            *("--model", f"{NETS}:narrow", "--weights", str(tmp_path / "fast_at.pth")),
            *("--data", photographs, "--data.image-size", "32", "--data.validation-size", "0"),
            *("--data.train-size", "None", "--battery", "fast_at", "--examples", "2"),
            *("--eps", repr(eps), "--rows", str(rows)),
            *((*hedged, "--defense.draws", "1", *FLAGS) if defense else ()),
        ]
    )
    outcomes = Outcomes.read(rows)
    assert {"pgd-10", "pgd-50", "pgd-100"} <= outcomes.values("attack")
    assert outcomes.values("defense") == {"none", *defense}
    assert eps in outcomes.values("eps")
    frame = outcomes.where(defense="none", attack="pgd-10").to_pandas()
    # Ten restarts of ten steps, and no more once one has succeeded.
    assert (frame["backwards"] <= 100).all() and (frame["backwards"] >= 10).all()
    assert (frame["distance"] <= eps + 1e-6).all()
