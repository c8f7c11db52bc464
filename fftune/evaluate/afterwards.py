"""What the rows of all examples say of a net, where the few that the lint looked at did not."""

import logging
from collections.abc import Sequence

from fftune.evaluate.block import NAN, SOME_NAN, ZERO
from fftune.evaluate.finding import Remark
from fftune.outcomes import Outcomes

log = logging.getLogger(__name__)

STATUSES = {"nan-gradient": (NAN, SOME_NAN), "zero-gradient": (ZERO,)}
"""Which beginnings of a row's status speak of what."""


def remarked(outcomes: Outcomes, remarks: Sequence[str]) -> tuple[str, ...]:
    """These remarks, and one for each failure of gradients in undefended rows that none names.

    New ones are logged.
    """
    known = {line.partition(":")[0] for line in remarks}
    frame = outcomes.where(defense="none").to_pandas()
    total, lines = frame["id"].nunique(), list(remarks)
    for code, statuses in STATUSES.items():
        count = frame.loc[frame["status"].str.startswith(statuses), "id"].nunique()
        if count and code not in known:
            text = f"{count} of {total} examples: attacks that follow it stand still there"
            lines.append(str(Remark(code, text)))
            log.warning("%s", lines[-1])
    return tuple(lines)
