"""Publication of hedge studies: a page each, MLflow, and the text for a terminal."""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import HedgeSweep
from fftune.hedge_study.page import hedge_page
from fftune.hedge_study.summary import hedge_caveats, hedge_headlines, hedge_table, read_hedges
from fftune.report.publish import log_to_mlflow, write_search_page
from fftune.storage import write_text


def publish_hedges(configs: Mapping[str, HedgeSweep], root: Path) -> str:
    """Write the report of each study, and return the text for a terminal.

    Args:
        configs: settings by name; each study is about one model, so none is compared.
        root: storage folder.
    """
    lines = []
    for name, config in configs.items():
        result = read_hedges(config, root / "studies" / name)
        place, text = root / "studies" / name / "report.html", hedge_page(result)
        write_text(place, text)
        more = write_search_page(config, root)
        lines += [
            hedge_table(result).to_string(index=False),
            "",
            *hedge_caveats(result),
            "",
            f"report  {place}",
            *(f"search  {place.with_name(file)}" for file in more),
            log_to_mlflow(config, result.front, {"report.html": text, **more}, root),
            "",
            *hedge_headlines(result),
        ]
    return "\n".join(lines)
