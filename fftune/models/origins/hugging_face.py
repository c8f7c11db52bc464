"""`hf:OWNER/NAME@REVISION`: classifiers of transformers in the local Hugging Face cache."""

from pathlib import Path
from typing import Any

from fftune.config.normalisation import Constants
from fftune.errors import ModelError
from fftune.models.equivalence import first_line
from fftune.models.extras import extra
from fftune.models.origins.found_weights import told_file
from fftune.models.origins.hub_cache import hub_cache, snapshot
from fftune.models.origins.spec import Asked, Built, ModelSource
from fftune.stored_file import read_object

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Files of weights that transformers looks for."""


def build(asked: Asked) -> Built:
    """The net `OWNER/NAME`, of branch `main` without a revision; or that of a folder, as `./NAME`.

    Raises:
        ModelError: it is not in the cache, needs code of its repository, or is no classifier.
    """
    library = extra("transformers", "hf", "model hf:OWNER/NAME")
    library.utils.logging.disable_progress_bar()
    library.utils.logging.set_verbosity_error()  # what is missing is told here
    name, folder, revision = _folder(asked.name)
    config = _config(library, folder, asked.name)
    told = f"{config.model_type} {name}{f'@{revision}' if revision else ''}"
    version = f"transformers {library.__version__}"
    classes = _classes(config)
    constants, said_by = _normalisation(folder)
    if asked.fresh:
        if asked.inputs is not None and asked.inputs.classes != config.num_labels:
            config.num_labels, classes = asked.inputs.classes, ()
        net = library.AutoModelForImageClassification.from_config(config)
        return Built(
            net=net,
            version=version,
            told=f"{told} of {version}",
            constants=constants,
            said_by=said_by,
            classes=classes,
        )
    return Built(
        net=_net(library, folder, asked.name),
        version=f"{version} {revision}",
        told=f"{told} of {version}, {_weights(folder)}",
        constants=constants,
        said_by=said_by,
        classes=classes,
    )


def _folder(place: str) -> tuple[str, Path, str]:
    """Name, folder and commit of a net; the commit of a folder outside the cache is empty.

    Raises:
        ModelError: neither is there.
    """
    local = Path(place).expanduser()
    if (local / "config.json").is_file():
        return local.absolute().name, local, ""
    repository, _, revision = place.partition("@")
    folder = snapshot(repository, revision or "main")
    if not (folder / "config.json").is_file():
        said = f" --revision {revision}" if revision else ""
        raise ModelError(
            f"hf:{place} is not in {str(hub_cache())!r}, and nothing is downloaded; fetch it by: "
            f"hf download {repository}{said}"
        )
    return repository, folder, folder.name


def _config(library: Any, folder: Path, place: str) -> Any:
    if "auto_map" in read_object(folder / "config.json", "settings of a net", ModelError):
        raise ModelError(
            f"hf:{place} needs code of its repository, which is not run; load it in a "
            "FILE.py:FUNCTION of yours, with trust_remote_code=True if you trust it"
        )
    return _loaded(library.AutoConfig, folder, place)


def _net(library: Any, folder: Path, place: str) -> Any:
    net, found = _loaded(
        library.AutoModelForImageClassification, folder, place, output_loading_info=True
    )
    if found["missing_keys"]:
        some = ", ".join(sorted(found["missing_keys"])[:3])
        raise ModelError(f"hf:{place} has no weights of a classifier: {some} are missing")
    return net


def _loaded(kind: Any, folder: Path, place: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:  # by whatever its many parts raise
        raise ModelError(f"hf:{place} cannot be loaded: {first_line(error)}") from error


def _normalisation(folder: Path) -> tuple[Constants | None, str]:
    """The preprocessor's normalisation of pixels in [0, 1].

    Raises:
        ModelError: its scale is another.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None, ""
    settings = read_object(path, "preprocessor", ModelError)
    if not settings.get("do_rescale", True) or settings.get("rescale_factor", 1 / 255) != 1 / 255:
        raise ModelError(f"preprocessor {str(path)!r} scales pixels otherwise than to [0, 1]")
    if not settings.get("do_normalize", "image_mean" in settings):
        return None, "its preprocessor_config.json"
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if not mean or not std:
        return None, ""
    return (tuple(map(float, mean)), tuple(map(float, std))), "its preprocessor_config.json"


def _weights(folder: Path) -> str:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return told_file(folder / name)
    shards = sorted([*folder.glob("model-*.safetensors"), *folder.glob("pytorch_model-*.bin")])
    return ", ".join(map(told_file, shards))


def _classes(config: Any) -> tuple[str, ...]:
    names = tuple(config.id2label[number] for number in sorted(config.id2label))
    unnamed = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    return () if unnamed else names


SOURCE = ModelSource(build=build)
