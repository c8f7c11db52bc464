"""Keys that sign data sets in tests."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec


def key_pair(folder: Path, password: str = "") -> tuple[Path, Path]:
    """Write a private key on P-256 and its public half into a folder, as openssl does."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / "key.pem", folder / "key.pub"
    locked = s.BestAvailableEncryption(password.encode()) if password else s.NoEncryption()
    private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, locked))
    kind = s.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, kind))
    return private, public
