"""`timm:NAME`: its classifiers, with their pretrained weights from the local caches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fftune.errors import ModelError
from fftune.models.extras import extra
from fftune.models.origins.found_weights import first_file, hub_checkpoints, told_file
from fftune.models.origins.hub_cache import cached
from fftune.models.origins.spec import Asked, Built, ModelSource
from fftune.models.weights import read_tensors
from fftune.registry import nearest

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names under which timm's repositories on the Hugging Face hub keep weights."""


def _timm() -> Any:
    return extra("timm", "timm", "model timm:NAME")


def _names() -> list[str]:
    return [*_timm().list_models(), *_timm().list_pretrained()]


def build(asked: Asked) -> Built:
    """The net `NAME`, or `NAME.TAG` with the weights of that tag, as in `resnet50.a1_in1k`.

    Raises:
        ModelError: timm has no such net, or its weights are in no cache.
    """
    timm = _timm()
    name, version = asked.name, f"timm {timm.__version__}"
    if name.partition(".")[0] not in timm.list_models() or ("." in name and name not in _names()):
        raise ModelError(f"timm has no net {name!r}; {nearest(name, _names())}")
    if asked.fresh:
        sizes = {}
        if asked.inputs is not None:
            sizes = {"num_classes": asked.inputs.classes, "in_chans": asked.inputs.shape[0]}
        net = timm.create_model(name, pretrained=False, **sizes)
        return Built(net=net, version=version, told=f"{name} of {version}")
    settings = timm.get_pretrained_cfg(name)
    path = first_file(
        _places(settings),
        f"weights of timm:{name}",
        f'fetch them by: python -c "import timm; timm.create_model({name!r}, pretrained=True)"; '
        "or name a file by --weights",
    )
    # As timm's own filters of names see it; it is read here, so that nothing in it is run.
    net = timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"state_dict": read_tensors(str(path))}
    )
    told = f"{settings.architecture}.{settings.tag}" if settings.tag else name
    return Built(
        net=net,
        version=version,
        told=f"{told} of {version}, {told_file(path)}",
        constants=(tuple(settings.mean), tuple(settings.std)),
        said_by=f"timm's settings of {told}",
        classes=tuple(settings.label_names or ()),
    )


def _places(settings: Any) -> Iterator[Path]:
    if settings.hf_hub_id:
        names = [settings.hf_hub_filename] if settings.hf_hub_filename else FILES
        repository, _, revision = settings.hf_hub_id.partition("@")
        for name in names:
            yield cached(repository, name, revision or "main")
    if settings.url:
        yield hub_checkpoints() / Path(urlsplit(settings.url).path).name


SOURCE = ModelSource(build=build)
