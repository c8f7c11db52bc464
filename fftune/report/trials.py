"""Report of any kind of study that has none of its own: a table of all trials."""

from collections.abc import Iterator, Mapping
from html import escape
from math import isnan
from pathlib import Path

import pandas as pd

from fftune.config import Study
from fftune.report.bounds import bound_lines
from fftune.report.files import keep_page
from fftune.report.front_page import frame_grid
from fftune.report.result_page import Figure, ResultPage
from fftune.report.terminal import Block
from fftune.sweeping.front import Front


def publish_trials(configs: Mapping[str, Study], root: Path) -> ResultPage:
    """Write `report.html` into each study's folder, and return the tables for a terminal."""
    blocks: list[Block] = []
    figures: list[Figure] = []
    for name, config in configs.items():
        folder = root / "studies" / name
        front = Front.read(folder / "front.json")
        table = trials_table(config, front)
        said = bound_lines(config, front)
        page = "".join(f"<p>{escape(line)}</p>" for line in said)
        page += table.to_html(index=False, border=0)
        kept = keep_page(folder / "report.html", page)
        title = "risks in percent on test images"
        blocks += [frame_grid(table, title), "", *(f"{line}\n" for line in said), *kept]
        figures += _figures(config, front)
    return ResultPage(verb="report", blocks=tuple(blocks), figures=tuple(figures))


def _figures(config: Study, front: Front) -> Iterator[Figure]:
    """Means of the risks of every trial on the test split."""
    data = getattr(getattr(config.base, "data", None), "name", "")  # a user's kind may have none
    for trial in front.trials:
        for risk in config.risks:
            found = trial.estimate("test", risk)
            ends = (None if isnan(end) else end for end in (found.mean, found.low, found.high))
            value, low, high = ends
            yield Figure(
                study=config.name,
                net=f"trial {trial.trial}",
                trial=trial.trial,
                lam=trial.lam,
                settings="; ".join(f"{path}={one}" for path, one in trial.settings.items()),
                data=data,
                split="test",
                figure=risk,
                value=value,
                low=low,
                high=high,
            )


def trials_table(config: Study, front: Front) -> pd.DataFrame:
    """One row a trial: its settings, and its risks in percent on the test split."""
    members = {trial.trial for trial in front.members}
    return pd.DataFrame(
        [
            {
                "study": config.name,
                **trial.settings,
                "front": "*" if trial.trial in members else "",
                **{
                    risk.replace("_", " "): f"{100 * trial.estimate('test', risk).mean:.1f}"
                    for risk in config.risks
                },
            }
            for trial in front.trials
        ]
    )
