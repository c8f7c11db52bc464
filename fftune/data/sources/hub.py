"""`hf:OWNER/NAME@REVISION`: data sets of the Hugging Face hub in its local cache."""

import re
from dataclasses import replace

from fftune.data.data_form import Place
from fftune.errors import DataError
from fftune.models.origins.hub_cache import hub_cache, snapshot

_NAME = re.compile(
    r"(?P<name>\w[\w.-]*(?:/\w[\w.-]*)?)(?:@(?P<revision>\w[\w.-]*))?(?P<below>(?:/\w[^/@]*)*)"
)


def hub_place(text: str) -> Place:
    """The folder of a data set in the cache.

    Args:
        text: `OWNER/NAME`, of branch `main` without `@REVISION`; `/FOLDER` behind it names one of
            several data sets of a repository, and `,label=NAME` and others are as of any place.

    Raises:
        DataError: it is not there; nothing is downloaded.
    """
    written = Place.of(text)
    found = _NAME.fullmatch(str(written.path))
    if found is None:
        raise DataError(f"data.name: hf:{text} must be hf:OWNER/NAME or hf:OWNER/NAME@REVISION")
    name, revision = found["name"], found["revision"]
    folder = snapshot(name, revision or "main", "datasets")
    if not folder.is_dir():
        said = f" --revision {revision}" if revision else ""
        raise DataError(
            f"data.name: hf:{text} is not in {str(hub_cache())!r}, and nothing is downloaded; "
            f"fetch it by: hf download --repo-type dataset {name}{said}"
        )
    return replace(written, path=folder / found["below"].strip("/"), title=name.split("/")[-1])
