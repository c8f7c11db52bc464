"""Normalisation of a net's images, as settings spell it."""

from fftune.errors import ConfigError

Constants = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, of pixels in [0, 1]."""
NAMED: dict[str, Constants] = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
"""Normalisations that go by name."""
NONE, DATA = "none", "data"
"""Spellings of no normalisation, and of that of the data's own channels."""
RULE = "none, data, imagenet or MEAN/STD, as in 0.5/0.25 or 0.49,0.48,0.45/0.25,0.24,0.26"


def constants_of(text: str) -> Constants | None:
    """Constants of a spelled normalisation but `data`; None for `none` and an empty text.

    Raises:
        ConfigError: it is none of `RULE`, its numbers do not fit, or a deviation is not positive.
    """
    if text in ("", NONE, DATA):
        return None
    if text in NAMED:
        return NAMED[text]
    try:
        mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
    except ValueError:
        raise ConfigError(f"normalize must be {RULE}, got {text!r}") from None
    if len(mean) != len(std) or not all(0 < one < float("inf") for one in std):
        raise ConfigError(f"normalize must have as many means as deviations > 0, got {text!r}")
    return mean, std


def spelled(constants: Constants | None) -> str:
    """The text that `constants_of` reads."""
    if constants is None:
        return NONE
    return "/".join(",".join(map(repr, part)) for part in constants)
