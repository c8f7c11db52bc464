"""A set against a manifest: what `fftune data sign` wrote of the original stands in its stead."""

from pathlib import Path

from fftune.data.catalog import open_parts
from fftune.data.signed_manifest import SignedManifest, differences, manifest_of
from fftune.errors import DataError
from fftune.report.result_page import ResultPage
from fftune.stored_file import reading


def against_manifest(name: str, manifest: Path) -> str:
    """First differences between a set and a manifest; empty if there are none.

    Args:
        name: a data set as `open_parts` takes it.

    Raises:
        DataError: the file is no manifest, or the set cannot be opened or compared.
    """
    with reading(manifest, "manifest", DataError):
        signed = SignedManifest.of_json(manifest.read_text(encoding="utf-8"))
    opened = open_parts(name)
    names = [part.name for part in signed.parts if part.name in opened]
    return differences(signed, manifest_of(opened, names))


def manifest_page(fault: str, manifest: Path) -> ResultPage:
    """Lay out what differs from a manifest."""
    end = (
        f"TOUCHED: {fault}" if fault else "UNTOUCHED: every image and label is as in the manifest."
    )
    whose = (
        f"The manifest {str(manifest)!r} is taken as it is; `fftune data verify SET --signature "
        f"{manifest}.sig --public-key KEY` tells who signed it."
    )
    more = {"outcome": "fail" if fault else "pass", "differences": fault}
    return ResultPage(verb="data inspect", blocks=(end, whose), more=more)
