"""Descriptions of nets, by name or from a checkpoint folder; none of it needs torch."""

import difflib
import zipfile
from dataclasses import replace
from pathlib import Path
from shlex import quote

from fftune.code_text import functions_of
from fftune.config import DataSpec, ModelSpec, read_settings, require
from fftune.config.data import of_another
from fftune.errors import ConfigError, ModelError
from fftune.registry import MODEL_SOURCES, MODELS, is_of_file, nearest, source_prefix

OURS = "fftune:"
"""Prefix of a factory that is a name of the table, as in `fftune:resnet18`."""
ROBUSTBENCH = "robustbench:"
"""Prefix of a factory that is a published net, as in `robustbench:cifar10/Linf/Standard`."""
FORMS = "FILE.py:FUNCTION, torchvision:NAME, timm:NAME, hf:OWNER/NAME, robustbench:ID or a file"
"""Names of nets that are not ours, as a refusal lists them; `docs/your-own-net.md` has all."""
WEIGHTS = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".safetensors", ".pt2", ".ts", ".torchscript")
"""Ends of names of files that hold nets or weights."""


def read_spec(folder: Path) -> ModelSpec:
    """The net of a checkpoint folder, wherever the folder is now.

    Raises:
        ModelError: there is no complete checkpoint, or its description is damaged.
    """
    path = folder / "model.json"
    if not path.exists():
        raise ModelError(f"no complete checkpoint in {str(folder)!r}{instead_of(str(folder))}")
    spec = read_settings(ModelSpec, path, "net", ModelError)
    return replace(spec, weights=str(folder / "weights.pt"))


def instead_of(place: str) -> str:
    """Words on what to type for a net that is named as a checkpoint and is none; else empty."""
    if Path(place).is_dir():
        return ""
    if ":" in place or place in MODELS or Path(place).is_file():
        return f"; a net that is no CHECKPOINT is named by --model {quote(place)}"
    near = difflib.get_close_matches(place, MODELS, n=1)
    return f"; did you mean --model {near[0]}?" if near else ""


def with_named_code(spec: ModelSpec, checkpoint: Path, model: str = "") -> ModelSpec:
    """The net of a checkpoint, which runs a file of the user's only if the user names it too.

    The description of a checkpoint from elsewhere could name any function of any file.

    Args:
        model: `FILE.py:NAME` by which the user says what to run; it may lie elsewhere than the
            description says.

    Raises:
        ModelError: the description names a file, and the user none.
        ConfigError: the user names one for a net that needs none.
    """
    if not runs_file(spec.factory):
        require("model", not model, "left out for a net of a CHECKPOINT, which says it", model)
        return spec
    if not runs_file(model):
        raise ModelError(_refusal(checkpoint, spec.factory, "model"))
    return replace(spec, factory=model)


def with_named_data(data: DataSpec, checkpoint: Path, name: str | None = None) -> DataSpec:
    """The data of a checkpoint, or others; a file that makes them runs only if the user names it.

    Raises:
        ModelError: the checkpoint's settings name a file, and the user nothing.
    """
    if name is None and is_of_file(data.name):
        raise ModelError(_refusal(checkpoint, data.name, "data"))
    return of_another(data, name)


def _refusal(checkpoint: Path, code: str, flag: str) -> str:
    return (
        f"checkpoint {str(checkpoint)!r} would run {code!r}, which nobody but it has named; if you "
        f"trust that file, add --{flag} {quote(code)}"
    )


def runs_file(factory: str) -> bool:
    """True if building the net runs a file that the factory names."""
    prefix = source_prefix(factory)
    return ".py:" in factory or bool(prefix and MODEL_SOURCES[prefix].runs_file)


def factory_of(name: str) -> str:
    """The factory of a `ModelSpec` for the net that `make_model` knows as `name`."""
    return name if ".py:" in name or source_prefix(name) else OURS + name


def named_spec(
    model: str, weights: str = "", *, weights_key: str = "", normalize: str = ""
) -> ModelSpec:
    """Describe a net as `--model` names it, not yet built for any images.

    Args:
        model: a name of `registry.MODELS`, `path/to/FILE.py:FUNCTION`, `PREFIX:NAME` of a source,
            or a file of TorchScript or of an exported program.
        weights: file of its state_dict; empty: as the net is initialised, or as the function
            loads them.

    Raises:
        ConfigError: there is no net of that name; the nearest is named.
    """
    factory = _factory(model)
    if weights_key and not weights:
        raise ConfigError("weights_key must come with weights")
    return ModelSpec(factory=factory, weights=weights, weights_key=weights_key, normalize=normalize)


def _factory(model: str) -> str:
    """
    Raises:
        ConfigError: there is no such net.
    """
    if ".py:" in model or source_prefix(model):
        return model
    if Path(model).is_file():
        return _of_file(Path(model))
    if Path(model).is_dir() and model not in MODELS:
        read_spec(Path(model))  # says that there is no complete checkpoint
        raise ConfigError(f"model {model!r} is a CHECKPOINT: name it without --model")
    if model in MODELS:
        return OURS + model
    prefix, colon, _ = model.partition(":")
    if colon and prefix.isidentifier():
        raise ConfigError(f"unknown source of models {prefix!r}; {nearest(prefix, MODEL_SOURCES)}")
    if Path(model).suffix in (".py", *WEIGHTS) or "/" in model or colon:
        raise ConfigError(f"model {model!r}: there is no such file or checkpoint")
    raise ConfigError(f"unknown model {model!r}; {nearest(model, MODELS)} (or {FORMS})")


def _of_file(path: Path) -> str:
    """The factory of a file that holds a whole net.

    Raises:
        ConfigError: it holds none.
    """
    if path.suffix == ".py":
        known = functions_of(path)
        near = f", as in {path}:{known[0]}" if known else ""
        raise ConfigError(f"model {str(path)!r} must name a function, FILE.py:FUNCTION{near}")
    parts = _archived(path)
    if any("/code/" in part for part in parts):
        return f"torchscript:{path.absolute()}"
    if any(part.endswith(("archive_format", "serialized_exported_program.json")) for part in parts):
        return f"exported:{path.absolute()}"
    raise ConfigError(
        f"model {str(path)!r} is no net by itself, but perhaps its weights: name what builds the "
        f"net, and them by --weights {quote(str(path))}"
    )


def _archived(path: Path) -> list[str]:
    """Names in a ZIP archive; none of another file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return []
