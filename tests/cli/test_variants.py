"""The nets of one training by name: NAME@last, NAME@average and NAME@best."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import fftune as ff
from fftune.cli import evaluate, sweep
from fftune.cli.checkpoints import checkpoints_of, with_variants
from fftune.cli.options import run
from fftune.config import ModelSpec
from fftune.errors import ModelError
from fftune.evaluation.question import questions_of
from fftune.models import weights_hash
from fftune.models.named_net import read_net
from fftune.models.specs import read_spec
from fftune.models.variants import split_variant
from fftune.outcomes import Outcomes
from fftune.training.init_model import init_model
from fftune.training.train import train
from tests.training.tinies import tiny

FEW = ["--examples", "12", "--battery.steps", "1"]
CONFIG = tiny("thrm", epochs=2, lam=5.0, model="mlp", width=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A storage with a run, and with a study whose trial 3 is the same training."""
    root = tmp_path_factory.mktemp("store")
    train(CONFIG, folder=root / "runs/short")
    shutil.copytree(root / "runs/short", root / "studies/front/trials/3")
    return root


@pytest.fixture
def store(trained: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("runs", "studies"):
        shutil.copytree(trained / name, root / name)
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    monkeypatch.chdir(root)
    return root


@pytest.mark.some(4)
@pytest.mark.parametrize(
    ("name", "label", "folder"),
    [
        ("short", "short", "runs/short/checkpoint"),
        ("short@last", "short", "runs/short/checkpoint"),
        ("short@average", "short-average", "runs/short/average"),
        ("short@best", "short-best", "runs/short/best"),
        ("runs/sho*@best", "short-best", "runs/short/best"),
        ("runs/short/checkpoint@average", "short-average", "runs/short/average"),
        ("runs/short/average", "short-average", "runs/short/average"),
        ("runs/short/average@last", "short", "runs/short/checkpoint"),
        ("front", "front-3", "studies/front/trials/3/checkpoint"),
        ("front@average", "front-3-average", "studies/front/trials/3/average"),
        ("front-3", "front-3", "studies/front/trials/3/checkpoint"),
        ("front-3@best", "front-3-best", "studies/front/trials/3/best"),
    ],
)
def test_each_name_is_one_folder(store: Path, name: str, label: str, folder: str) -> None:
    found = checkpoints_of([name])
    assert [(net, path.resolve()) for net, path in found.items()] == [
        (label, (store / folder).resolve())
    ]
    assert read_spec(store / folder).label == label


def test_a_path_code_and_a_source_keep_their_sign(tmp_path: Path) -> None:
    (tmp_path / "a@best").mkdir()
    for name in (str(tmp_path / "a@best"), "hf:me/net@best", "net.py:net:b@best", "@best"):
        assert split_variant(name) == (name, "")
    assert split_variant("a@b@best") == ("a@b", "best")


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("short@avrage", r"'runs/short/checkpoint' has no net 'avrage'; did you mean 'average'\?"),
        ("shrt@average", "no checkpoint, run or study 'shrt'; did you mean 'short'"),
        ("bare@average", "no complete average net in '.*bare': it was trained with average_decay"),
        ("bare@best", "no complete best net in '.*bare': it was trained without validation"),
    ],
)
def test_what_is_missing_is_one_line(store: Path, name: str, refusal: str) -> None:
    shutil.copytree(store / "runs/short/checkpoint", store / "runs/bare/checkpoint")
    with pytest.raises(ModelError, match=refusal.replace("'runs", "'.*runs")) as error:
        checkpoints_of([name])
    assert "\n" not in str(error.value)


def test_each_net_is_followed_by_the_others_of_its_training(store: Path, caplog) -> None:
    caplog.set_level("INFO")
    shutil.rmtree(store / "studies/front/trials/3/best")
    found = with_variants(checkpoints_of(["short", "front", "short@best"]))
    assert [*found] == [*("short", "short-average", "short-best", "front-3", "front-3-average")]
    assert [r.getMessage() for r in caplog.records if "front" in r.getMessage()] == [
        "front-3 has no best net"
    ]


def test_three_nets_are_scored_side_by_side_and_marked(store: Path, capsys) -> None:
    evaluate.main(["short", "--variants", *FEW])
    said = " ".join(capsys.readouterr().out.split())
    average, best = (
        f"short-{net}: from {words}, not as published: papers take the last net"
        for net, words in (
            ("average", "moving average of the weights"),
            ("best", "best on validation images"),
        )
    )
    assert average in said and best in said
    assert "short: from" not in said
    hashes = [read_spec(store / "runs/short" / f).hash for f in ("checkpoint", "average", "best")]
    assert all(one[:8] in said for one in hashes)


def test_one_of_them_alone_is_marked_too(store: Path, capsys) -> None:
    evaluate.main(["short@average", *FEW, "--rows", "rows.parquet"])
    said = " ".join(capsys.readouterr().out.split())
    assert "from moving average of the weights, not as published: papers take the last" in said
    (question,) = questions_of(Outcomes.read(store / "rows.parquet"))
    assert question.net == "short-average"
    assert question.model_hash == read_spec(store / "runs/short/average").hash


def test_a_damaged_average_is_one_line(store: Path, capsys) -> None:
    path = store / "runs/short/average/weights.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SystemExit) as end:
        run(evaluate.main, ["short@average", *FEW])
    assert end.value.code == 2
    (line,) = [li for li in capsys.readouterr().err.splitlines() if "average/weights.pt" in li]
    assert line.startswith("fftune: ")


def test_python_a_hedge_and_a_later_training_take_the_same_names(store: Path) -> None:
    place = str(store / "runs/short/checkpoint@average")
    expected = read_spec(store / "runs/short/average").hash
    assert weights_hash(read_net(place)) == expected
    assert ff.evaluate(place, examples=12, steps=1).frame() is not None
    config = replace(CONFIG, init_model="runs/short@average")
    inputs = read_spec(store / "runs/short/average").inputs
    assert inputs is not None
    assert weights_hash(init_model(config, inputs)) == expected
    command = sweep._parse(["hedge", "--checkpoint", "runs/short@average", "--scale", "tiny"])
    assert command.config.base.net.hash == expected
    assert command.config.name == "hedge-short-average"


def test_a_file_of_that_name_elsewhere_is_no_variant(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    torch.save({}, tmp_path / "best/epoch-50.pt")
    spec = ModelSpec(factory="fftune:mlp", weights=str(tmp_path / "best/epoch-50.pt"))
    assert (spec.variant, spec.label) == ("", "epoch-50")
