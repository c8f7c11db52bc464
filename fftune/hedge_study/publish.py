"""Publication of hedge studies: a page each, MLflow, and the text for a terminal."""

from collections.abc import Mapping
from pathlib import Path

from fftune.config import HedgeSweep
from fftune.hedge_study.hedge_grid import HEDGE_LEGEND, hedge_figures, hedge_grid
from fftune.hedge_study.page import hedge_page
from fftune.hedge_study.summary import hedge_caveats, hedge_headlines, read_hedges
from fftune.report.files import keep_page
from fftune.report.publish import keep_search_page, log_to_mlflow
from fftune.report.result_page import Figure, ResultPage
from fftune.report.terminal import Block


def publish_hedges(configs: Mapping[str, HedgeSweep], root: Path) -> ResultPage:
    """Write the report of each study, and return its page for a terminal.

    Args:
        configs: settings by name; each study is about one model, so none is compared.
        root: storage folder.
    """
    blocks: list[Block] = []
    figures: list[Figure] = []
    for name, config in configs.items():
        result = read_hedges(config, root / "studies" / name)
        place, text = root / "studies" / name / "report.html", hedge_page(result)
        kept = keep_page(place, text)
        more, search = keep_search_page(config, root)
        blocks += [
            *hedge_caveats(result),
            "",
            hedge_grid(result),
            HEDGE_LEGEND,
            "",
            *kept,
            *search,
            log_to_mlflow(config, result.front, {"report.html": text, **more}, root),
            "",
            *hedge_headlines(result),
        ]
        figures += hedge_figures(result)
    return ResultPage(verb="report", blocks=tuple(blocks), figures=tuple(figures))
