"""Nets by `PREFIX:NAME`: found in local caches, what was taken told, or refused in one line."""

import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fftune.config import InputSpec, ModelSpec
from fftune.data.model_spec import refuse_other_order
from fftune.errors import ConfigError, ModelError
from fftune.models import load_model, make_model, save_weights, weights_hash
from fftune.models.layers import Normalized
from fftune.models.loading import loaded
from fftune.models.specs import named_spec
from fftune.storage import sha256

RGB = InputSpec(shape=(3, 8, 8), classes=10, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
IMAGENET = "mean 0.485 0.456 0.406, deviation 0.229 0.224 0.225"


class Tiny(nn.Module):
    """Stands for an architecture of a library."""

    def __init__(self, classes: int = 10, channels: int = 3, **_: object) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Any:
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "torch/hub/checkpoints").mkdir(parents=True)
    return tmp_path


def in_hub(root: Path, repository: str, files: dict[str, object], commit: str = "c0ffee12") -> Path:
    """A repository as the hub's library keeps it."""
    folder = root / f"hf/hub/models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs/main").write_text(commit)
    at = folder / "snapshots" / commit
    at.mkdir(parents=True)
    for name, content in files.items():
        if name.endswith(".json"):
            (at / name).write_text(json.dumps(content))
        else:
            torch.save(content, at / name)
    return at


def test_torchvisions_own_weights_and_constants(caches: Path, monkeypatch) -> None:
    from torchvision import models

    weights = models.get_model_weights("squeezenet1_1")["DEFAULT"]
    classes = len(weights.meta["categories"])
    torch.manual_seed(0)
    net = models.get_model("squeezenet1_1", weights=None)
    path = caches / "torch/hub/checkpoints" / Path(weights.url).name
    with pytest.raises(ModelError, match=r"not in '.*/squeezenet1_1.*pth', .*; fetch them by: py"):
        loaded(named_spec("torchvision:squeezenet1_1"))
    torch.save(net.state_dict(), path)
    found = loaded(named_spec("torchvision:squeezenet1_1"))
    assert isinstance(found.net, Normalized) and weights_hash(found.net.net) == weights_hash(net)
    assert found.classes[:2] == ("tench", "goldfish") and len(found.classes) == classes
    told = found.spec.origin.told
    assert sha256(path) in told and IMAGENET in told and "the transforms of IMAGENET1K_V1" in told
    again = loaded(found.spec, bare=True)
    assert again.net.state_dict().keys() == found.net.state_dict().keys()
    with pytest.raises(ModelError, match="no net 'squeeznet1_1'; did you mean 'squeezenet1_1'"):
        loaded(named_spec("torchvision:squeeznet1_1"))
    with pytest.raises(ModelError, match="no weights 'V2' of squeezenet1_1; did you mean|known: I"):
        loaded(named_spec("torchvision:squeezenet1_1:V2"))


def test_an_architecture_of_torchvisions_with_ones_own_weights(caches: Path, caplog) -> None:
    from torchvision import models

    torch.save({"state_dict": models.get_model("squeezenet1_1", num_classes=10).state_dict()}, "w")
    spec = replace(named_spec("torchvision:squeezenet1_1", "w"), inputs=RGB)
    found = loaded(spec)
    assert "nobody says which normalisation" in caplog.text
    assert found.net.normalize.mean.flatten().tolist() == pytest.approx(RGB.mean)
    caplog.clear()
    flat = replace(RGB, mean=(0.0,) * 3, std=(1.0,) * 3)  # of tensors in memory
    with pytest.raises(ModelError, match="nobody says which .*; name it by --normalize: none, d"):
        loaded(replace(spec, inputs=flat))
    other = loaded(replace(spec, normalize="imagenet"))
    assert IMAGENET in other.spec.origin.told and not caplog.text
    plain = loaded(replace(spec, normalize="none"))
    assert not isinstance(plain.net, Normalized)
    assert len({weights_hash(one.net) for one in (found, other, plain)}) == 3


def timm_of(settings: dict[str, Any]) -> ModuleType:
    """As much of timm as is used."""
    library: Any = ModuleType("timm")
    library.__version__ = "1.0.31"
    library.list_models = lambda: ["tiny", "tinier"]
    library.list_pretrained = lambda: ["tiny.a1"]
    library.get_pretrained_cfg = lambda _: SimpleNamespace(**settings)

    def create_model(name, pretrained=False, num_classes=1000, in_chans=3, **others):
        net = Tiny(num_classes, in_chans)
        if pretrained:
            net.load_state_dict(others["pretrained_cfg_overlay"]["state_dict"])
        return net

    library.create_model = create_model
    return library


def test_timms_weights_from_the_hubs_cache(caches: Path, monkeypatch) -> None:
    settings = {
        "architecture": "tiny",
        "tag": "a1",
        "hf_hub_id": "timm/tiny.a1",
        "url": "",
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "label_names": None,
        "hf_hub_filename": None,
    }
    monkeypatch.setitem(sys.modules, "timm", timm_of(settings))
    with pytest.raises(ModelError, match=r"weights of timm:tiny are not in '.*snapshots/main/mod"):
        load_model(named_spec("timm:tiny"))
    net = Tiny(1000)
    in_hub(caches, "timm/tiny.a1", {"pytorch_model.bin": net.state_dict()})
    found = loaded(named_spec("timm:tiny"))
    assert weights_hash(found.net.net) == weights_hash(net)
    assert "tiny.a1 of timm 1.0.31, pytorch_model.bin (sha256 " in found.spec.origin.told
    assert found.spec.origin.version == "timm 1.0.31"
    assert found.net.normalize.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ModelError, match="timm has no net 'tiyn'; did you mean 'tiny'"):
        load_model(named_spec("timm:tiyn"))


def test_a_net_of_a_source_is_trained_and_read_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", timm_of({}))
    net = make_model("timm:tiny", RGB)
    assert net.training and net.net.fc.out_features == 10
    assert weights_hash(net) == weights_hash(make_model("timm:tiny", RGB))
    with torch.no_grad():
        net.normalize.mean.add_(0.25)
    save_weights(net, tmp_path / "w.pt")
    spec = ModelSpec(factory="timm:tiny", inputs=RGB, weights=str(tmp_path / "w.pt"))
    assert weights_hash(load_model(replace(spec, hash=weights_hash(net)))) == weights_hash(net)
    assert "(its weights)" in loaded(spec).spec.origin.told
    with pytest.raises(ConfigError, match="width must be left out for 'timm:tiny', got 3"):
        make_model("timm:tiny", RGB, width=3)


CONFIG = {"model_type": "tiny", "id2label": {"0": "cat", "1": "dog"}}


def transformers_of() -> ModuleType:
    """As much of transformers as is used."""
    library: Any = ModuleType("transformers")
    library.__version__ = "5.24.0"

    def config_of(folder, **_):
        data = json.loads(Path(folder, "config.json").read_text())
        labels = {int(key): value for key, value in data["id2label"].items()}
        return SimpleNamespace(
            model_type=data["model_type"], id2label=labels, num_labels=len(labels)
        )

    class Classifier(Tiny):
        def forward(self, x):
            return SimpleNamespace(logits=super().forward(x), loss=None)

    def net_of(folder, **_):
        net = Classifier(config_of(folder).num_labels)
        state = torch.load(Path(folder, "pytorch_model.bin"), weights_only=True)
        missing = net.load_state_dict(state, strict=False).missing_keys
        return net, {"missing_keys": set(missing)}

    quiet = SimpleNamespace(disable_progress_bar=lambda: None, set_verbosity_error=lambda: None)
    library.utils = SimpleNamespace(logging=quiet)
    library.AutoConfig = SimpleNamespace(from_pretrained=config_of)
    library.AutoModelForImageClassification = SimpleNamespace(
        from_pretrained=net_of, from_config=lambda config: Classifier(config.num_labels)
    )
    return library


@pytest.fixture
def hugging(caches: Path, monkeypatch) -> Path:
    monkeypatch.setitem(sys.modules, "transformers", transformers_of())
    return caches


def test_a_net_of_the_hub_by_its_revision(hugging: Path) -> None:
    with pytest.raises(ModelError, match=r"not in '.*hf/hub', .*: hf download o/n --revision v1$"):
        load_model(named_spec("hf:o/n@v1"))
    net = Tiny(2)
    normal = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    files = {"config.json": CONFIG, "preprocessor_config.json": normal,
             "pytorch_model.bin": net.state_dict()}  # fmt: skip
    at = in_hub(hugging, "o/n", files)
    for revision in ("", "@main", "@c0ffee12", "@c0ffee1"):
        found = loaded(named_spec(f"hf:o/n{revision}"))
        assert weights_hash(found.net.net) == weights_hash(net)
        assert found.classes == ("cat", "dog")
        assert "c0ffee12" in found.spec.origin.version
    told = found.spec.origin.told
    assert "tiny o/n@c0ffee12 of transformers 5.24.0" in told and "deviation 0.25" in told
    assert sha256(at / "pytorch_model.bin") in told
    assert loaded(named_spec(f"hf:{at}")).classes == ("cat", "dog")
    assert found.spec.label == "n-c0ffee1"


def test_what_the_hubs_nets_do_not_say_is_not_guessed(hugging: Path) -> None:
    files: dict[str, object] = {"config.json": CONFIG, "pytorch_model.bin": Tiny(2).state_dict()}
    at = in_hub(hugging, "o/n", files)
    with pytest.raises(ModelError, match="does not say which normalisation .* --normalize: none,"):
        load_model(named_spec("hf:o/n"))
    assert not isinstance(load_model(named_spec("hf:o/n", normalize="none")), Normalized)
    settings = at / "preprocessor_config.json"
    settings.write_text('{"do_normalize": false}')
    assert "its preprocessor_config.json" in loaded(named_spec("hf:o/n")).spec.origin.told
    settings.write_text('{"do_rescale": false, "image_mean": [1], "image_std": [1]}')
    with pytest.raises(ModelError, match=r"scales pixels otherwise than to \[0, 1\]"):
        load_model(named_spec("hf:o/n"))
    settings.unlink()
    torch.save({"other": torch.ones(1)}, at / "pytorch_model.bin")
    with pytest.raises(ModelError, match="no weights of a classifier: fc.bias, fc.weight are miss"):
        load_model(named_spec("hf:o/n"))
    (at / "config.json").write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ModelError, match="hf:o/n needs code of its repository, which is not run"):
        load_model(named_spec("hf:o/n"))


@pytest.mark.parametrize(
    ("source", "extra"),
    [("timm:resnet18", "timm"), ("hf:o/n", "hf"), ("robustbench:cifar10/Linf/No", "robustbench")],
)
def test_a_missing_library_is_one_line(caches, monkeypatch, source: str, extra: str) -> None:
    for name in ("timm", "transformers", "robustbench", "robustbench.model_zoo"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModelError, match=rf"pip install 'fftune\[{extra}\]'$") as caught:
        loaded(replace(named_spec(source), inputs=RGB), bare=True)
    assert "\n" not in str(caught.value)


def test_robustbenchs_own_folder(caches: Path, monkeypatch) -> None:
    from functools import partial

    from fftune.models.origins import of_robustbench as source
    from fftune.models.published_nets import WideResNet

    small = partial(WideResNet, depth=10, widen=1)
    layouts = {"cifar10/Linf/Standard": small, "cifar10/L2/Wu": small, "cifar10/Linf/Wu": small}
    monkeypatch.setattr(source, "LAYOUTS", layouts)
    monkeypatch.setattr(source, "_tables", lambda _: {})
    with pytest.raises(ModelError, match=r"robustbench:cifar10/Linf/Standard are not in 'models/"):
        load_model(named_spec("robustbench:Standard"))
    (caches / "models/cifar10/Linf").mkdir(parents=True)
    path = caches / "models/cifar10/Linf/Standard.pt"
    torch.save({"state_dict": small(10).state_dict()}, path)
    found = loaded(named_spec("robustbench:Standard"))
    assert sha256(path) in found.spec.origin.told
    assert "takes pixels in [0, 1] (the convention of RobustBench)" in found.spec.origin.told
    with pytest.raises(ModelError, match="is one of cifar10/L2/Wu, cifar10/Linf/Wu: name it in"):
        load_model(named_spec("robustbench:Wu"))
    with pytest.raises(ModelError, match="no net 'Standrad', .*did you mean 'Standard'"):
        load_model(named_spec("robustbench:Standrad"))


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten())
        self.fc = nn.Linear(72, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.net(x))


def test_a_file_of_torchscript(tmp_path: Path) -> None:
    net = Conv().eval()
    torch.jit.save(torch.jit.trace(net, torch.rand(2, 1, 8, 8)), tmp_path / "net.pt")
    spec = named_spec(str(tmp_path / "net.pt"))
    assert spec.factory == f"torchscript:{tmp_path}/net.pt" and spec.label == "net.pt"
    found, x = loaded(spec), torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(found.net(x), net(x))
    assert found.spec.origin.version == f"sha256 {sha256(tmp_path / 'net.pt')}"
    assert weights_hash(found.net) == weights_hash(net)
    normal = load_model(named_spec(str(tmp_path / "net.pt"), normalize="0.5/0.25"))
    torch.testing.assert_close(normal(x), net((x - 0.5) / 0.25))
    (tmp_path / "net.pt").write_bytes(b"PK")
    with pytest.raises(ModelError, match="TorchScript '.*net.pt' cannot be loaded: "):
        load_model(spec)


@pytest.mark.parametrize("name", ["nope.pt", "a/net.ts", "nope.py", "x/y", "nope.safetensors"])
def test_a_missing_file_is_said(name: str) -> None:
    with pytest.raises(ConfigError, match="there is no such file or checkpoint"):
        named_spec(name)


def test_files_that_are_no_nets(tmp_path: Path) -> None:
    torch.save(Conv().state_dict(), tmp_path / "w.pt")
    (tmp_path / "net.py").write_text("import os\n\n\ndef small():\n    pass\n")
    for name, told in (
        ("w.pt", "is no net by itself, but perhaps its weights: .* --weights "),
        ("net.py", r"must name a function, FILE.py:FUNCTION, as in .*net.py:small$"),
    ):
        with pytest.raises(ConfigError, match=told):
            named_spec(str(tmp_path / name))
    with pytest.raises(ModelError, match="hold a TorchScript net, not weights alone: name it by"):
        torch.jit.save(torch.jit.trace(Conv(), torch.rand(2, 1, 8, 8)), tmp_path / "s.pt")
        load_model(ModelSpec(factory="fftune:mlp", inputs=RGB, weights=str(tmp_path / "s.pt")))
    with pytest.raises(ModelError, match="no function 'smal'; did you mean 'small'"):
        load_model(named_spec(f"{tmp_path}/net.py:smal"))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("resnt18", "did you mean 'resnet18'?"),
        ("torchvison:resnet18", "did you mean 'torchvision'?"),
        ("huggingface:a/b", "known: exported, hf, robustbench"),
    ],
)
def test_a_misspelt_name_gets_a_suggestion(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        named_spec(name)
    assert near in str(caught.value)


@pytest.mark.parametrize("text", ["imagnet", "0.5", "0.5/0", "1,2/3", "a/b", "0.5/nan", "/"])
def test_a_normalisation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="^normalize must "):
        ModelSpec(factory="fftune:mlp", normalize=text)


def test_classes_in_another_order_are_refused() -> None:
    data = ("airplane", "automobile", "bird", "cat")
    refuse_other_order("hf:a", ("airplane", "car", "bird", "cat"), data)
    refuse_other_order("hf:a", ("Airplane", "AUTOMOBILE", "bird, fowl", "cat"), data)
    refuse_other_order("hf:a", ("w", "x", "y", "z"), data)
    with pytest.raises(ModelError, match=r"'cat' is its class 2, and label 3 of the data \(2 dif"):
        refuse_other_order("hf:a", ("airplane", "car", "cat", "bird"), data)


def exported(path: Path, rows: int, **options: object) -> nn.Module:
    net = Conv().eval()
    torch.export.save(torch.export.export(net, (torch.rand(rows, 1, 8, 8),), **options), path)
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "named"), [(1, False), (8, False), (2, True)])
def test_an_exported_program(tmp_path: Path, rows: int, named: bool) -> None:
    """Of one size of batch, as it is by itself, or of any."""
    from fftune.models import adapted

    sizes = {"dynamic_shapes": ({0: torch.export.Dim("rows")},)} if named else {}
    net = exported(tmp_path / "net.pt2", rows, **sizes)
    found = loaded(named_spec(str(tmp_path / "net.pt2")))
    assert found.spec.factory == f"exported:{tmp_path}/net.pt2"
    assert found.spec.origin.version == f"sha256 {sha256(tmp_path / 'net.pt2')}"
    x = torch.rand(5, 1, 8, 8, requires_grad=True)
    logits = adapted(found.net, x.detach())(x)
    torch.testing.assert_close(logits, net(x))
    one, other = (torch.autograd.grad(z.square().sum(), x)[0] for z in (logits, net(x)))
    torch.testing.assert_close(one, other)
    (tmp_path / "net.pt2").write_bytes(b"PK")
    with pytest.raises(ModelError, match="exported program '.*' cannot be loaded: "):
        load_model(found.spec)


def test_an_exported_program_is_told_by_its_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr("net/archive_format", "pt2")
    assert named_spec(str(tmp_path / "net.pt2")).factory == f"exported:{tmp_path}/net.pt2"


def test_a_program_that_knows_one_mode_is_asked_for_no_other() -> None:
    from fftune.models.origins.exported import Exported

    class Program(Conv):
        def train(self, mode: bool = True) -> nn.Module:
            raise NotImplementedError

    net = Exported(Program())
    assert not net.eval().training and net.train().training
