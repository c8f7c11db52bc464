"""Signatures of data sets: a manifest of every image and label, signed with a key, offline.

The manifest is a file of its own, and OpenSSF's model-signing signs it as it signs any model, with
an elliptic-curve key: `model_signing verify key MANIFEST` checks that signature without fftune. To
compare the manifest with the data is what only fftune does.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fftune.config import DataSpec, Split
from fftune.data.catalog import open_parts, place_framed
from fftune.data.signed_manifest import SignedManifest, differences, manifest_of
from fftune.errors import ConfigError, DataError
from fftune.models.extras import extra
from fftune.storage import require_replaceable, write_text
from fftune.stored_file import advised, read_object, read_text, reading

PASSWORD = "FFTUNE_KEY_PASSWORD"  # noqa: S105 - the name of a variable
"""Environment variable that holds the password of an encrypted private key."""
SUFFIX = ".sig"
"""Ending of a signature beside its manifest, as in `digits.json.sig`."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""Elliptic curves that model-signing knows: NIST P-256, P-384 and P-521."""
MAKES = "`openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Valid signature of the data: who vouches for images and labels."""

    signer: str
    """Fingerprint of the key: `sha256:` and the SHA-256 of its public half in PEM."""
    manifest_sha256: str
    """SHA-256 of the signed manifest."""
    tool: str
    """Format of the signature, as in "model-signing 1.1.1"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Data set beside its signature."""

    signature: Signature
    """Key and manifest that were compared; valid where there is no fault."""
    fault: str
    """First differences, or the reason why the signature is none of this key; empty: all fit."""
    parts: tuple[str, ...]
    """Official parts that are signed; empty if the signature is not valid."""
    count: int
    """Number of examples in these."""


def sign(name: str, manifest: Path, key: Path, parts: Sequence[str] = ()) -> SignedManifest:
    """Write a manifest of a data set, and beside it its signature.

    Args:
        name: a data set as `open_parts` takes it.
        manifest: file to write; its signature is that path and `SUFFIX`.
        key: private key on one of `CURVES`, in PEM; `PASSWORD` decrypts it.
        parts: official parts to sign; empty: all.

    Raises:
        ConfigError: the key is none.
        DataError: there is no such set or part, or an image cannot be read.
        ModelError: model-signing is not installed.
        StorageError: a file cannot be written, or something else is in its place.
    """
    signing = extra("model_signing.signing", "signing", "a signature")
    password = os.environ.get(PASSWORD, "").encode() or None
    _private(key, password)
    signature_file = Path(f"{manifest}{SUFFIX}")
    require_replaceable(manifest, "signed manifest", _read_manifest)
    require_replaceable(signature_file, "signature", _read_bundle)
    opened = open_parts(name)
    contents = manifest_of(opened, parts or list(opened))
    with tempfile.TemporaryDirectory() as folder:
        copy, signature = Path(folder, manifest.name), Path(folder, f"{manifest.name}{SUFFIX}")
        copy.write_text(contents.json, encoding="utf-8")
        config = signing.Config().use_elliptic_key_signer(private_key=key, password=password)
        config.sign(copy, signature)
        with reading(signature, "signature"):
            signed = signature.read_text(encoding="utf-8")
    write_text(manifest, contents.json)
    write_text(signature_file, signed)
    return contents


def _read_manifest(path: Path) -> SignedManifest:
    return SignedManifest.of_json(read_text(path, "signed manifest", DataError))


def _read_bundle(path: Path) -> None:
    if "dsseEnvelope" not in read_object(path, "signature", DataError):
        raise DataError(f"{str(path)!r} is no bundle of model-signing")


def verify(name: str, signature: Path, public_key: Path) -> Verification:
    """Compare a data set with its manifest, and that with its signature.

    Args:
        signature: file that `sign` wrote, with its manifest beside it.

    Raises:
        ConfigError: the key is none, or the signature's name does not end in `SUFFIX`.
        DataError: the set cannot be opened, or a file is missing or none of its kind.
        ModelError: model-signing is not installed.
    """
    verifying = extra("model_signing.verifying", "signing", "a signature")
    fingerprint = fingerprint_of(public_key)
    manifest = _manifest_of(signature)
    with reading(manifest, "signed manifest", DataError):
        content = manifest.read_bytes()
    found = Signature(
        signer=fingerprint,
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        tool=f"model-signing {version('model-signing')}",
    )
    if fault := _signature_fault(verifying, content, signature, public_key):
        return Verification(signature=found, fault=fault, parts=(), count=0)
    with reading(manifest, "signed manifest", DataError):
        signed = SignedManifest.of_json(content.decode("utf-8"))
    opened = open_parts(name)
    names = [part.name for part in signed.parts]
    here = manifest_of(opened, [part for part in names if part in opened])
    fault = differences(signed, here)
    return Verification(signature=found, fault=fault, parts=tuple(names), count=signed.count)


def signature_of(
    data: DataSpec, split: Split, signature: Path | None, public_key: Path | None
) -> Signature | None:
    """The valid signature of a split's data; None where none is named.

    Raises:
        ConfigError: one of the two files is named without the other, or the key is none.
        DataError: the data are not as they were signed, by another key or not at all; the message
            names the first differences.
    """
    if signature is None and public_key is None:
        return None
    if signature is None or public_key is None:
        lacks = "signature" if signature is None else "public_key"
        raise ConfigError(f"{lacks} must be named where the other of the two files is")
    found = verify(data.name, signature, public_key)
    if found.fault:
        line = f"{data.name!r} is not as {str(signature)!r} has it: {found.fault}"
        raise DataError(advised("signed manifest", line))
    part = place_framed(data, split).part.name
    if part not in found.parts:
        only = ", ".join(found.parts)
        raise DataError(f"{str(signature)!r} is of {only} alone, and {split} is of {part}")
    return found.signature


def fingerprint_of(public_key: Path) -> str:
    """Fingerprint of a public key in PEM: what `sha256sum` says of the file that openssl writes.

    Raises:
        ConfigError: the file is no such key on one of `CURVES`.
        ModelError: model-signing's libraries are not installed.
    """
    serialization = extra("cryptography.hazmat.primitives.serialization", "signing", "a signature")
    with reading(public_key, "public key", ConfigError):
        content = public_key.read_bytes()
        try:
            key = serialization.load_pem_public_key(content)
        except Exception as error:  # ValueError, UnsupportedAlgorithm and others of OpenSSL
            raise ConfigError(f"{str(public_key)!r} holds no public key in PEM") from error
        _require_curve(key, public_key)
        plain = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return f"sha256:{hashlib.sha256(plain).hexdigest()}"


def _private(key: Path, password: bytes | None) -> None:
    """Refuse what is no private key.

    Raises:
        ConfigError: it is none on one of `CURVES`, or is encrypted by another password.
    """
    serialization = extra("cryptography.hazmat.primitives.serialization", "signing", "a signature")
    with reading(key, "private key", ConfigError):
        content = key.read_bytes()
        try:
            loaded = serialization.load_pem_private_key(content, password)
        except TypeError:
            why = (
                f"is not encrypted; unset {PASSWORD}"
                if password
                else f"is encrypted; set {PASSWORD}"
            )
            raise ConfigError(f"private key {str(key)!r} {why}") from None
        except Exception as error:  # as above; OpenSSL says a wrong password in many words
            other = f", or {PASSWORD} is not its password" if password else ""
            raise ConfigError(f"{str(key)!r} holds no private key in PEM{other}") from error
        _require_curve(loaded, key)


def _require_curve(key: Any, path: Path) -> None:
    curve = getattr(getattr(key, "curve", None), "name", "no elliptic curve")
    if curve not in CURVES:
        known = ", ".join(CURVES)
        raise ConfigError(f"key {str(path)!r} is of {curve}, and {known} can sign")


def _manifest_of(signature: Path) -> Path:
    if signature.suffix != SUFFIX:
        raise ConfigError(
            f"signature must be a file that `fftune data sign` wrote, as in NAME.json{SUFFIX}, "
            f"got {str(signature)!r}"
        )
    return signature.with_suffix("")


def _signature_fault(verifying: Any, content: bytes, signature: Path, public_key: Path) -> str:
    """The reason why a signature is none of this key, or of this manifest; empty if it is.

    The bytes that are compared are those that were read: model-signing gets a copy of them.

    Raises:
        DataError: the signature is missing, or is no bundle of model-signing.
    """
    invalid = extra("cryptography.exceptions", "signing", "a signature").InvalidSignature
    with reading(signature, "signature", DataError):
        bundle = signature.read_bytes()
    with (
        tempfile.TemporaryDirectory() as folder,
        reading(signature, "signature", DataError),
        redirect_stdout(sys.stderr),  # a bundle that does not name its key is said there
    ):
        copy, kept = Path(folder, "manifest.json"), Path(folder, f"manifest.json{SUFFIX}")
        copy.write_bytes(content)
        kept.write_bytes(bundle)
        config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        try:
            config.verify(copy, kept)
        except invalid:
            return f"the signature {str(signature)!r} is not by this key, or was changed"
        except ValueError as error:
            return _told(error, signature)
    return ""


def _told(error: ValueError, signature: Path) -> str:
    """Words on a verdict of model-signing; its other errors are raised again."""
    if str(error).startswith("Key mismatch"):
        return f"the signature {str(signature)!r} is by another key"
    if str(error).startswith("Signature mismatch"):
        return f"the manifest {str(_manifest_of(signature))!r} was changed after it was signed"
    raise error
