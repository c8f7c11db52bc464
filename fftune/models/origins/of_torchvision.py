"""`torchvision:NAME`: its classifiers, with their default weights from torch's cache."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fftune.errors import ModelError
from fftune.models.origins.found_weights import first_file, hub_checkpoints, told_file
from fftune.models.origins.spec import Asked, Built, ModelSource
from fftune.models.weights import read_weights
from fftune.registry import nearest


def _names() -> list[str]:
    from torchvision import models

    return list(models.list_models(module=models))


def build(asked: Asked) -> Built:
    """The net `NAME`, or `NAME:WEIGHTS` with other weights than the default, as IMAGENET1K_V1.

    Raises:
        ModelError: torchvision has no such net or weights, or they are not in torch's cache.
    """
    import torchvision
    from torchvision import models

    name, _, variant = asked.name.partition(":")
    if name not in _names():
        raise ModelError(f"torchvision has no net {name!r}; {nearest(name, _names())}")
    version = f"torchvision {torchvision.__version__}"
    weights = _weights(name, variant)
    classes = len(weights.meta["categories"])
    if asked.fresh and asked.inputs is not None:
        classes = asked.inputs.classes
    net = models.get_model(name, weights=None, num_classes=classes)
    if asked.fresh:
        return Built(net=net, version=version, told=f"{name} of {version}")
    fetch = f"import torchvision; torchvision.models.get_model({name!r}, weights={weights.name!r})"
    path = first_file(
        [hub_checkpoints() / Path(urlsplit(weights.url).path).name],
        f"weights of torchvision:{asked.name}",
        f'fetch them by: python -c "{fetch}"; or name a file by --weights',
    )
    read_weights(net, str(path))
    transforms = weights.transforms()
    return Built(
        net=net,
        version=version,
        told=f"{name} of {version}, {weights.name} in {told_file(path)}",
        constants=(tuple(transforms.mean), tuple(transforms.std)),
        said_by=f"the transforms of {weights.name}",
        classes=tuple(weights.meta["categories"]),
    )


def _weights(name: str, variant: str) -> Any:
    from torchvision import models

    known = models.get_model_weights(name)
    try:
        return known[variant or "DEFAULT"]
    except KeyError:
        near = nearest(variant, [one.name for one in known])
        raise ModelError(f"torchvision has no weights {variant!r} of {name}; {near}") from None


SOURCE = ModelSource(build=build)
