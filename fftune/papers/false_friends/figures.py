"""Figures 2 to 7 of Tao et al. 2022."""

from fftune.papers.false_friends import case_study
from fftune.papers.false_friends.front_figures import FrontFigure
from fftune.papers.false_friends.fronts import FrontTable
from fftune.papers.false_friends.target_bars import TargetFigure
from fftune.papers.items import Item

QUALITY = {
    "CIFAR-10": FrontTable(key="P1.T10", title="CIFAR-10"),
    "CIFAR-100": FrontTable(key="P1.T11", title="CIFAR-100", data="cifar100"),
    "Tiny-ImageNet": FrontTable(key="P1.T12", title="Tiny-ImageNet", data="tiny-imagenet"),
}
"""Tables of the fronts on clean data, by data set."""
POISONING = {
    "CIFAR-10, Poisoning": FrontTable(key="P1.T13", title="Poisoning", kind="poisoning"),
}

F2 = Item(
    key="P1.F2",
    title="Case study: four training sets, and five ResNet-18 at a bar of 99.9 %",
    needs=case_study.needs,
    build=case_study.build,
)
F3 = TargetFigure(
    key="P1.F3", title="Success on mistakes towards the own label and every class, Quality"
).item()
F4 = FrontFigure(
    key="P1.F4",
    title="Natural against hypocritical risk of THRM and TRADES over lambda, Quality",
    tables=QUALITY,
).item()
F5 = TargetFigure(
    key="P1.F5",
    title="Success on mistakes towards the own label and every class, Poisoning",
    kind="poisoning",
).item()
F6 = FrontFigure(
    key="P1.F6",
    title="Natural against hypocritical risk of THRM and TRADES over lambda, Poisoning",
    tables=POISONING,
).item()
F7 = FrontFigure(
    key="P1.F7",
    title="Natural against adversarial risk of THRM and TRADES over lambda, Quality",
    tables=QUALITY,
    risk="adversarial",
).item()
