"""Signed data sets: what breaks a signature, and what does not."""

import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_signing.verifying import Config
from PIL import Image

from fftune.config import DataSpec
from fftune.data.signed_manifest import SignedManifest
from fftune.data.signing import PASSWORD, Verification, sign, signature_of, verify
from fftune.errors import ConfigError, DataError, UserError
from tests.keys import key_pair

FUZZ = settings(
    max_examples=40,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> tuple[Path, Path]:
    return key_pair(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of three images."""
    for place in ("cat", "dog"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng([i, len(place), ord(place[0])])
            image = Image.fromarray(pixels.integers(0, 256, (5, 4, 3), np.uint8))
            image.save(tmp_path / f"photos/{place}/{i}.png")
    return tmp_path / "photos"


class Signed:
    """A data set that was signed."""

    def __init__(self, name: str, keys: tuple[Path, Path], manifest: Path) -> None:
        self.name, self.manifest, self.public_key = name, manifest, keys[1]
        self.signature = Path(f"{manifest}.sig")
        self.contents = sign(name, manifest, keys[0])

    def verified(self, name: str = "", public_key: Path | None = None) -> Verification:
        return verify(name or self.name, self.signature, public_key or self.public_key)

    @property
    def fault(self) -> str:
        return self.verified().fault


@pytest.fixture
def signed(photos: Path, keys, tmp_path: Path) -> Signed:
    return Signed(f"folder:{photos}", keys, tmp_path / "photos.json")


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at % len(content)] ^= 1 << bit
    path.write_bytes(content)


def test_what_was_signed_passes_wherever_it_lies(signed: Signed, photos: Path) -> None:
    found = signed.verified()
    assert (found.fault, found.parts, found.count) == ("", ("whole",), 6)
    public = signed.public_key.read_bytes()
    assert found.signature.signer == f"sha256:{hashlib.sha256(public).hexdigest()}"
    content = hashlib.sha256(signed.manifest.read_bytes()).hexdigest()
    assert found.signature.manifest_sha256 == content
    moved = shutil.copytree(photos, photos.parent / "deep/er/others")
    assert signed.verified(f"folder:{moved}").fault == ""


def test_the_manifest_holds_name_digest_and_label(signed: Signed, photos: Path) -> None:
    (part,) = SignedManifest.of_json(signed.manifest.read_text()).parts
    digest = hashlib.sha256((photos / "dog/1.png").read_bytes()).hexdigest()
    assert part.classes == ("cat", "dog") and part.digests == "file"
    assert part.examples[4] == ("dog/1.png", digest, 1)
    assert signed.manifest.read_text().count("\n") == 6


def test_equal_contents_have_an_equal_manifest(signed: Signed, keys, tmp_path: Path) -> None:
    again = Signed(signed.name, keys, tmp_path / "again.json")
    assert again.manifest.read_bytes() == signed.manifest.read_bytes()


def test_model_signing_alone_verifies_the_manifest(signed: Signed) -> None:
    plain = Config().use_elliptic_key_verifier(public_key=signed.public_key)
    plain.verify(signed.manifest, signed.signature)
    flip(signed.manifest, 40)
    with pytest.raises(ValueError, match="Signature mismatch"):
        plain.verify(signed.manifest, signed.signature)


@FUZZ
@given(st.integers(0, 5), st.integers(0, 10**6), st.integers(0, 7))
def test_any_flipped_bit_of_any_image_breaks_it(signed: Signed, photos, which, at, bit) -> None:
    path = sorted(photos.rglob("*.png"))[which]
    flip(path, at, bit)
    try:
        assert signed.fault == f"changed image {str(path.relative_to(photos))!r}"
    finally:
        flip(path, at, bit)
    assert signed.fault == ""


@FUZZ
@given(st.sampled_from(["manifest", "signature"]), st.integers(0, 10**6), st.integers(0, 7))
def test_any_flipped_bit_of_manifest_or_signature_is_no_pass(signed: Signed, what, at, bit) -> None:
    path = getattr(signed, what)
    before = path.read_bytes()
    flip(path, at, bit)
    try:
        verdict = signed.fault
    except UserError as error:
        verdict = str(error)
    finally:
        path.write_bytes(before)
    assert path.name in verdict


def test_what_is_swapped_added_or_missing_is_named(signed: Signed, photos: Path) -> None:
    shutil.copy(photos / "cat/0.png", photos / "dog/extra.png")
    assert signed.fault == "added 'dog/extra.png'"
    (photos / "dog/extra.png").unlink()
    (photos / "cat/2.png").rename(photos / "dog/9.png")
    assert signed.fault == "missing 'cat/2.png'; added 'dog/9.png'"
    (photos / "dog/9.png").rename(photos / "cat/2.png")
    assert signed.fault == ""
    for i in range(3):
        flip(photos / f"dog/{i}.png", -1)
    (photos / "cat/0.png").unlink()
    (photos / "cat/1.png").unlink()
    told = "missing 'cat/0.png'; missing 'cat/1.png'; changed image 'dog/0.png'; and 2 more"
    assert signed.fault == told
    shutil.rmtree(photos / "cat")
    assert signed.fault == "whole has other classes or levels of grey"


def test_one_swapped_label_breaks_it(tmp_path: Path, keys) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    y = np.array([0, 1, 2, 0, 1, 2])
    np.savez(tmp_path / "set.npz", x=x, y=y)
    signed = Signed(f"folder:{tmp_path / 'set.npz'}", keys, tmp_path / "m.json")
    assert signed.fault == ""
    y[[2, 3]] = y[[3, 2]]
    np.savez(tmp_path / "set.npz", x=x, y=y)
    first, second = "changed label of '2': '0', signed as '2'", "changed label of '3': '2', signed"
    assert signed.fault == f"{first}; {second} as '0'"
    y[[2, 3]] = y[[3, 2]]
    x[5, 3, 3, 2] ^= 1
    np.savez(tmp_path / "set.npz", x=x, y=y)
    assert signed.fault == "changed image '5'"
    np.savez(tmp_path / "set.npz", x=x[:5], y=y[:5])
    assert signed.fault == "missing '5'"


def _png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(pixels).save(stream := io.BytesIO(), "PNG")
    return stream.getvalue()


def _parquet(path: Path, labels: list[str], images: list[bytes]) -> None:
    pq.write_table(pa.table({"image": images, "label": labels}), path)


def _tar(path: Path, labels: list[str], images: list[bytes], *, last_first: bool = False) -> None:
    members = list(enumerate(zip(images, labels, strict=True)))
    with tarfile.open(path, "w") as tar:
        for i, (image, label) in members[::-1] if last_first else members:
            for ending, content in (("png", image), ("cls", label.encode())):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("ending", "write", "name"),
    [("parquet", _parquet, "set.parquet, row 1"), ("tar", _tar, "set.tar, 1.png")],
)
def test_rows_and_members_are_signed_as_they_are_stored(
    ending: str, write, name: str, tmp_path: Path, keys
) -> None:
    path, labels = tmp_path / f"set.{ending}", ["a", "b", "a", "b"]
    images = [_png(i) for i in range(4)]
    write(path, labels, images)
    signed = Signed(f"folder:{path}", keys, tmp_path / "m.json")
    assert signed.contents.parts[0].digests == "file"
    assert (signed.fault, signed.contents.parts[0].examples[1][0]) == ("", name)
    write(path, labels, [images[0], _png(9), *images[2:]])
    assert signed.fault == f"changed image {name!r}"
    write(path, ["a", "a", "b", "b"], images)
    assert signed.fault.startswith(f"changed label of {name!r}: 'a', signed as 'b'; ")


def test_an_id_is_a_position_so_that_the_order_counts(tmp_path: Path, keys) -> None:
    path, images = tmp_path / "set.tar", [_png(i) for i in range(4)]
    _tar(path, ["a", "b", "a", "b"], images)
    signed = Signed(f"folder:{path}", keys, tmp_path / "m.json")
    _tar(path, ["a", "b", "a", "b"], images, last_first=True)
    assert signed.fault == "whole has its examples in another order"


def test_pixels_are_the_same_in_a_beton(tmp_path: Path, keys, betons) -> None:
    signed = Signed("digits", keys, tmp_path / "digits.json")
    assert (signed.contents.parts[0].digests, signed.contents.count) == ("pixels", 1797)
    assert signed.verified(f"folder:{betons('digits')}").fault == ""


def test_files_are_not_compared_with_pixels(signed: Signed, betons) -> None:
    with pytest.raises(DataError, match="was signed by its file, and is found as pixels"):
        signed.verified(f"folder:{betons(signed.name)}")


def test_another_key_is_told(signed: Signed, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    other = key_pair(tmp_path / "others")[1]
    assert "is by another key" in signed.verified(public_key=other).fault


def test_an_old_manifest_under_a_new_signature_is_no_pass(signed: Signed, keys, photos) -> None:
    before = signed.manifest.read_bytes()
    flip(photos / "cat/0.png", -1)
    sign(signed.name, signed.manifest, keys[0])
    assert signed.fault == ""
    signed.manifest.write_bytes(before)
    assert "was changed after it was signed" in signed.fault


def test_parts_that_are_not_signed_are_not_vouched_for(photos: Path, keys, tmp_path) -> None:
    for part in ("train", "test"):
        shutil.copytree(photos, tmp_path / "parts" / part)
    spec, manifest = DataSpec(name=f"folder:{tmp_path / 'parts'}"), tmp_path / "m.json"
    sign(spec.name, manifest, keys[0], ["test"])
    flip(tmp_path / "parts/train/cat/0.png", -1)  # not signed
    signature = Path(f"{manifest}.sig")
    found = signature_of(spec, "test", signature, keys[1])
    assert found is not None and found.signer.startswith("sha256:")
    with pytest.raises(DataError, match="is of test alone, and train is of train"):
        signature_of(spec, "train", signature, keys[1])
    flip(tmp_path / "parts/test/cat/0.png", -1)
    with pytest.raises(DataError, match=r"m\.json\.sig' has it: changed image 'cat/0.png'"):
        signature_of(spec, "test", signature, keys[1])


def test_an_audit_without_a_signature_has_none(tmp_path: Path) -> None:
    assert signature_of(DataSpec(), "test", None, None) is None
    with pytest.raises(ConfigError, match="public_key must be named"):
        signature_of(DataSpec(), "test", tmp_path / "m.json.sig", None)


def test_an_encrypted_key_asks_for_its_password(photos, tmp_path, monkeypatch, capfd) -> None:
    private, public = key_pair(tmp_path, password="open sesame")
    name, manifest = f"folder:{photos}", tmp_path / "m.json"
    with pytest.raises(ConfigError, match=f"is encrypted; set {PASSWORD}"):
        sign(name, manifest, private)
    monkeypatch.setenv(PASSWORD, "open barley")
    with pytest.raises(ConfigError, match=f"or {PASSWORD} is not its password"):
        sign(name, manifest, private)
    monkeypatch.setenv(PASSWORD, "open sesame")
    sign(name, manifest, private)
    assert verify(name, Path(f"{manifest}.sig"), public).fault == ""


def test_a_key_of_openssl_signs(photos: Path, tmp_path: Path) -> None:
    """The two commands of the documentation."""
    make = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
    publish = "openssl ec -in key.pem -pubout -out key.pub"
    page = (Path(__file__).parents[2] / "docs/paper-trail.md").read_text(encoding="utf-8")
    for line in (make, publish):
        assert line in page
        subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True)
    keys = tmp_path / "key.pem", tmp_path / "key.pub"
    signed = Signed(f"folder:{photos}", keys, tmp_path / "m.json")
    assert signed.fault == ""


def test_a_name_that_no_json_holds_is_refused(photos: Path, keys, tmp_path: Path) -> None:
    (photos / "cat/0.png").rename(photos / "cat/\udcff.png")
    with pytest.raises(DataError, match="its name is not UTF-8"):
        sign(f"folder:{photos}", tmp_path / "m.json", keys[0])
    assert not (tmp_path / "m.json").exists()


def _pem(key) -> bytes:
    s = serialization
    return key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: ed25519.Ed25519PrivateKey.generate(), "no elliptic curve"),
        (lambda: ec.generate_private_key(ec.SECP256K1()), "secp256k1"),
    ],
)
def test_a_key_that_model_signing_does_not_know_is_refused(
    photos: Path, tmp_path: Path, make, kind: str
) -> None:
    (tmp_path / "key.pem").write_bytes(_pem(make()))
    with pytest.raises(ConfigError, match=f"key.pem' is of {kind}, and secp256r1"):
        sign(f"folder:{photos}", tmp_path / "m.json", tmp_path / "key.pem")
