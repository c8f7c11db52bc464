"""`--model`, `--weights` and their companions from the command line and from Python."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import fftune as ff
from fftune.cli import doctor, evaluate, train
from fftune.config import ModelSpec, TrainConfig, from_json, to_json
from fftune.errors import ConfigError, ModelError
from fftune.evaluation.question import questions_of
from fftune.models.specs import read_spec
from fftune.outcomes import Outcomes
from fftune.storage import sha256
from fftune.training.init_model import init_model

FILE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
FEW = ["--examples", "12", "--battery.steps", "1", "--eps", "0.1"]


@pytest.fixture
def here(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FFTUNE_STORAGE", str(root))
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(FILE)
    return tmp_path


def linear(seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def lightning(path: Path) -> nn.Module:
    """A checkpoint with all that Lightning writes beside a net's state."""
    net = linear()
    state = {f"model.{name}": value for name, value in net.state_dict().items()}
    torch.save(
        {
            "epoch": 3,
            "global_step": 60,
            "pytorch-lightning_version": "2.6.6",
            "state_dict": {**state, "criterion.weight": torch.ones(10)},
            "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
            "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {
                "best_model_score": torch.tensor(0.5), "best_model_path": "ckpts/a.ckpt",
                "best_k_models": {"ckpts/a.ckpt": torch.tensor(0.5)}, "dirpath": "ckpts",
            }},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(10, 64)}}}],
            "lr_schedulers": [{"base_lrs": [0.01], "last_epoch": 4}],
            "hparams_name": "kwargs",
            "hyper_parameters": {"lr": 0.001, "out": Path("runs"), "width": 8},
        },
        path,
    )  # fmt: skip
    return net


@pytest.mark.slow
def test_a_lightning_checkpoint_from_flags_to_rows(here: Path, capsys) -> None:
    net = lightning(here / "last.ckpt")
    model = ["--model", "net.py:net", "--weights", "last.ckpt", "--data", "digits"]
    evaluate.main([*model, *FEW, "--rows", "rows.parquet"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"last.ckpt (sha256 {sha256(here / 'last.ckpt')}), its 'state_dict', names" in said
    assert "1 other tensors left out; takes pixels in [0, 1] (the convention" in said
    (question,) = questions_of(Outcomes.read(here / "rows.parquet"))
    assert "without 'model.'" in question.origin
    rows = ff.evaluate(net, data="digits", eps=0.1, examples=12, steps=1).frame()
    mine = Outcomes.read(here / "rows.parquet").to_pandas()
    assert (mine.sort_values("id").pred_clean.values == rows.sort_values("id").pred_clean).all()


def test_what_a_net_was_built_from_is_part_of_its_key(here: Path) -> None:
    """Other normalisation, other rows; the place of a file of weights is none of it."""
    torch.save(linear().state_dict(), "w.pt")
    torch.save({"net": linear().state_dict()}, "same.pt")

    def of(**options: str) -> tuple[str, str]:
        few = {"examples": 12, "steps": 1, "eps": 0.1, "storage": here}
        found = ff.evaluate("net.py:net", "digits", **few, **options)
        (question,) = questions_of(found.outcomes)
        return question.model_hash, question.code

    plain = of(weights="w.pt")
    assert of(weights="same.pt") == plain
    assert of(weights="w.pt", normalize="0.5/0.25") != plain
    normal = of(weights="w.pt", normalize="data")
    assert normal[0] != plain[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resnt18"], "'resnt18'; did you mean --model resnet18"),
        (["net.py"], "a net that is no CHECKPOINT is named by --model net.py"),
        (["torchvision:resnet18"], "is named by --model torchvision:resnet18"),
        (["--model", "resnt18"], "unknown model 'resnt18'; did you mean 'resnet18'"),
        (["--model", "net.py:nett"], "no function 'nett'; did you mean 'net'"),
        (["--model", "net.py:net", "--weights-key", "ema"], "weights_key must come with weights"),
        (["--model", "net.py:net", "--normalize", "half"], "normalize must be none, data"),
        (["--model", "net.py:net", "--weights", "none.pt"], "weights 'none.pt' cannot be used"),
    ],
)
@pytest.mark.parametrize("verb", [evaluate, doctor])
def test_mistakes_are_one_line_in_every_verb(here: Path, verb, words, message) -> None:
    with pytest.raises((ConfigError, ModelError), match=message) as caught:
        verb.main([*words, "--data", "digits", *FEW[:2]])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_checkpoint_is_taken_by_model_too(here: Path, capsys) -> None:
    few = {"optimizer.epochs": 0, "optimizer.schedule": "step"}
    ff.train("standard", folder="run", settings=few)
    for words in (["run/checkpoint"], ["--model", "run/checkpoint"], ["--model=run/checkpoint"]):
        evaluate.main([*words, *FEW])
    said = capsys.readouterr().out
    assert said.count("net       run, weights") == 3
    with pytest.raises(ConfigError, match="normalize must be left out for a CHECKPOINT"):
        evaluate.main(["run/checkpoint", "--normalize", "none"])
    again = ff.train("standard", settings=few, init_model="run/checkpoint", seed=5)
    spec = read_spec(Path("run/checkpoint"))
    from fftune.models import load_model, weights_hash

    assert weights_hash(again.model) == weights_hash(load_model(spec))


def test_training_begins_with_a_file_of_weights(here: Path) -> None:
    lightning(here / "last.ckpt")
    config = TrainConfig(model="net.py:net", init_model="last.ckpt")
    assert config.init_model == f"{here}/last.ckpt"
    inputs = ff.train(
        "standard", settings={"optimizer.epochs": 0, "optimizer.schedule": "step"}
    ).inputs
    net = init_model(config, inputs)
    assert torch.equal(net[1].weight, linear()[1].weight)
    for place, told in (("nothing.pt", "cannot be used"), (".", "must be a checkpoint or a file")):
        with pytest.raises(ModelError, match=told):
            init_model(TrainConfig(model="net.py:net", init_model=place), inputs)
    with pytest.raises(ModelError, match="do not fit the net"):
        train.main(["standard", "--init-model", "last.ckpt"])


def test_settings_of_before_are_read() -> None:
    new = json.loads(to_json(ModelSpec(factory="fftune:mlp")))
    old = {key: value for key, value in new.items()
           if key not in ("weights_key", "normalize", "origin")}  # fmt: skip
    assert from_json(ModelSpec, json.dumps(old | {"schema_version": 4})).normalize == ""
