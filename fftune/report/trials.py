"""Report of any kind of study that has none of its own: a table of all trials."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fftune.config import Study
from fftune.report.files import keep_page
from fftune.sweeping.front import Front


def publish_trials(configs: Mapping[str, Study], root: Path) -> str:
    """Write `report.html` into each study's folder, and return the tables for a terminal."""
    lines = []
    for name, config in configs.items():
        folder = root / "studies" / name
        table = trials_table(config, Front.read(folder / "front.json"))
        page = table.to_html(index=False, border=0)
        kept = keep_page(folder / "report.html", page)
        lines += [table.to_string(index=False), "", *kept]
    return "\n".join(lines)


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
