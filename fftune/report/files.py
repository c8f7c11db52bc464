"""Files of reports, in a storage that may be there for reading alone."""

from pathlib import Path

from fftune.storage import may_write, write_text


def keep_page(place: Path, html: str, what: str = "report") -> list[str]:
    """Write a page, where that is allowed; return the line of a terminal that says where it is."""
    if not may_write(place.parent):
        return [f"{what}  not kept: {str(place.parent)!r} cannot be written"]
    write_text(place, html)
    return [f"{what}  {place}"]
