"""Nets of the tables of Wu et al. 2021: published ones at full scale, else stand-ins of ours."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fftune.papers.artifacts import Published
from fftune.papers.declarations import Net, Setup
from fftune.papers.tables.published import published
from fftune.papers.zoo import ZooNet, is_here, zoo_of
from fftune.recipes import LAM

TOLERANCE = 0.5
"""Points that a cell of these tables may lie off; also for cells that a user's zoo prints."""
STANDARD = "Standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A net of a table."""

    label: str
    net: Net | ZooNet
    name: str = ""
    """Its name in the published table; empty: the label."""

    @property
    def reason(self) -> str:
        """Cause for which it cannot be judged; empty: it can."""
        if isinstance(self.net, ZooNet) and not is_here(self.net):
            return f"there are no weights in {self.net.weights}"
        return ""

    def printed(self, table: str, *inside: str) -> Published | None:
        """A cell as the paper, or the user's zoo, prints it."""
        found = published(table, self.name or self.label, *inside)
        if found is None and isinstance(self.net, ZooNet) and table in self.net.tables:
            for row, column, percent in self.net.published:
                if (row, column) == inside:
                    return Published(mean=percent, tolerance=TOLERANCE)
        return found


AT = Line(label="AT (self-trained)", name="AT_selftrained", net=Net(objective="pgd_at"))
TRADES = Line(label="TRADES", name="Zhang2019Theoretically", net=Net(objective="trades", lam=LAM))
NATURAL = Line(label=STANDARD, net=Net())
AT_100 = replace(AT, net=Net(data="cifar100", objective="pgd_at"))
TRADES_100 = Line(
    label="TRADES (self-trained)",
    name="TRADES_selftrained",
    net=Net(data="cifar100", objective="trades", lam=LAM),
)
FAST_AT = Line(label="FastAT", name="Wong2020Fast", net=Net(objective="fast_at"))
WIDE_AT = Line(
    label="AT, WRN", name="Rice2020Overfitting", net=Net(objective="pgd_at", model="wrn28_10")
)
AT_L2 = Line(label="AT, l_2", name="Rice2020Overfitting", net=Net(objective="pgd_at", norm="l2"))


def lines(
    table: str,
    setup: Setup,
    *,
    stand_ins: Sequence[Line],
    own: Sequence[Line] = (),
    names: dict[str, str] | None = None,
) -> list[Line]:
    """The nets of a table: its published ones, or their stand-ins, then those that are trained.

    Args:
        stand_ins: nets of ours for the scales where no published ones are given.
        own: nets that the paper's authors trained themselves.
        names: names in the published table, where they are not the nets'.
    """
    zoo = [net for net in zoo_of(setup.scale, setup.zoo) if table in net.tables]
    names = names or {}
    theirs = [Line(label=net.name, net=net, name=names.get(net.name, net.name)) for net in zoo]
    if not theirs and setup.scale != "full":
        theirs = list(stand_ins)
    natural = [line for line in theirs if line.label == STANDARD]  # the last row of the table
    return [*(line for line in theirs if line not in natural), *own, *natural]
