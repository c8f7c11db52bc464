"""`python -m fftune.data sign SET --key FILE`, and `verify SET --signature FILE --public-key FILE`.

The verdict of `verify` is its exit code: 0 if all is as it was signed, 3 if an image, a label or
the signature is not. Files that are missing, no keys or no signatures are the user's mistake, 2.
"""

from dataclasses import dataclass
from typing import Literal

import tyro

from fftune.cli.help_page import Manual
from fftune.config.validation import require_words
from fftune.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sign:
    """Sign every image and label of a data set with a key, offline.

    Beside the manifest, a JSON file of names, digests and labels, its signature is written, by
    OpenSSF's model-signing. `fftune data verify SET --signature FILE --public-key FILE` compares
    all of them; `model_signing verify key` checks the signature of the manifest alone.
    """

    name: tyro.conf.Positional[str]
    """A data set that `fftune data list` shows, a path, folder:PATH, FILE.py:NAME or
    synthetic:SETTINGS."""
    key: str = ""
    """File of a private key on an elliptic curve, in PEM: `openssl ecparam -name prime256v1
    -genkey -noout -out key.pem` makes one. FFTUNE_KEY_PASSWORD decrypts it."""
    out: str | None = None
    """Manifest to write; its signature is FILE.sig. Default `NAME.manifest.json` in the working
    folder."""
    part: Literal["train", "test", "whole", "clean"] | None = None
    """Official part to sign; default all."""

    def __post_init__(self) -> None:
        require_words(self)


MANUAL = Manual(usage=("SET --key FILE [--out FILE] [--part PART]",), about=Sign.__doc__ or "")


def sign(command: Sign) -> None:
    """Sign a data set; print what was signed, and by which key's file."""
    from fftune.config.data import data_name
    from fftune.data.data_form import file_name_of
    from fftune.data.signing import MAKES, SUFFIX, sign
    from fftune.storage import in_home

    if not command.key:
        raise ConfigError(f"key must be a file with a private key; {MAKES}")
    name = data_name(command.name)
    out = in_home(command.out or f"{file_name_of(name)}.manifest.json")
    parts = [command.part] if command.part else []
    signed = sign(name, out, in_home(command.key), parts)
    for part in signed.parts:
        words = f"{len(part.examples):,} examples of {len(part.classes)} classes"
        print(f"{part.name}: {words}, by their {'files' if part.digests == 'file' else 'pixels'}")
    print(f"signed {str(out)!r}, in {f'{out}{SUFFIX}'!r}")


def verify(name: str, signature: str, public_key: str) -> None:
    """Compare a data set with its signature; print the verdict.

    Raises:
        SystemExit: 3, if something is not as it was signed.
    """
    from fftune.config.data import data_name
    from fftune.data.signing import verify
    from fftune.storage import in_home
    from fftune.verdict import EXIT_CODES

    for setting, given in (("signature", signature), ("public_key", public_key)):
        if not given:
            raise ConfigError(f"{setting} must be a file where data are compared with a signature")
    found = verify(data_name(name), in_home(signature), in_home(public_key))
    if found.fault:
        print(f"FAIL {name}: {found.fault}")
        raise SystemExit(EXIT_CODES["fail"])
    parts, count = ", ".join(found.parts), f"{found.count:,} images and labels"
    print(f"PASS {name}: {count} of {parts} are as signed by {found.signature.signer}")
