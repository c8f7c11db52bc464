"""Accuracies of substandard nets: tables 1 to 3 and 5 to 9 of Tao et al. 2022.

Tables 1 and 2 are the means of tables 5 and 7, and table 3 of table 8 with naturally trained nets:
they share all their nets.
"""

from dataclasses import replace

from fftune.papers.false_friends.accuracy_claims import (
    excellent_on_f,
    more_on_f,
    naive_mlp,
    resists_adversaries,
    resists_friends,
    trades_is_better,
    trades_is_worse,
    worse_when_poisoned,
)
from fftune.papers.false_friends.accuracy_table import AccuracyTable, Group, Line
from fftune.recipes import LAM

SUBSTANDARD = (
    Line(label="Naive", kind="naive"),
    Line(label="Noise", kind="noise"),
    Line(label="Mislabeling", kind="mislabeling"),
    Line(label="Poisoning", kind="poisoning"),
    Line(label="Quality", kind="quality"),
)
NATURAL = (
    Line(label="Poisoning (NT)", kind="poisoning"),
    Line(label="Quality (NT)", kind="quality"),
)
ROBUST = (
    Line(label="Poisoning (PGD-AT)", kind="poisoning", objective="pgd_at"),
    Line(label="Poisoning (TRADES)", kind="poisoning", objective="trades", lam=LAM),
    Line(label="Quality (PGD-AT)", kind="quality", objective="pgd_at"),
    Line(label="Quality (TRADES)", kind="quality", objective="trades", lam=LAM),
)
ARCHITECTURES = (
    Group(label="MLP", model="mlp"),
    Group(label="VGG-16", model="vgg16"),
    Group(label="WRN-28-10", model="wrn28_10"),
)
CIFAR10 = Group(label="CIFAR-10")
SVHN = Group(label="SVHN", data="svhn")
CIFAR100 = Group(label="CIFAR-100", data="cifar100")
TINY_IMAGENET = Group(label="Tiny-ImageNet", data="tiny-imagenet")
EXCELLENT = excellent_on_f("Mislabeling", "Poisoning", "Quality")
POISONED = worse_when_poisoned("VGG-16", "WRN-28-10")
MEANS = "means alone, as in the paper's main text"
TRAINED_AGAIN = (
    "under l_2 only poisons and perturbations are others: a net that sees neither is the one of "
    "Table 5, while the paper trained most of them again"
)

_t5 = AccuracyTable(
    key="P1.T5",
    title="Substandard models on CIFAR-10 across architectures, l_inf",
    lines=SUBSTANDARD,
    groups=ARCHITECTURES,
    claims=(more_on_f, EXCELLENT, naive_mlp, POISONED),
)
_t6 = replace(
    _t5,
    key="P1.T6",
    title="Substandard models on CIFAR-10 across architectures, l_2",
    norm="l2",
    claims=(more_on_f, POISONED),
    notes=(TRAINED_AGAIN,),
)
_t7 = AccuracyTable(
    key="P1.T7",
    title="Substandard ResNet-18 models across data sets, l_inf",
    lines=SUBSTANDARD,
    groups=(SVHN, CIFAR100, TINY_IMAGENET),
    claims=(
        more_on_f,
        EXCELLENT,
        worse_when_poisoned("SVHN", "CIFAR-100", "Tiny-ImageNet"),
    ),
)
_t8 = AccuracyTable(
    key="P1.T8",
    title="Adversarially trained ResNet-18 models across data sets, l_inf",
    lines=ROBUST,
    groups=(CIFAR10, CIFAR100, TINY_IMAGENET),
    references=NATURAL,
    claims=(
        more_on_f,
        resists_friends,
        resists_adversaries,
        trades_is_better("CIFAR-10", "CIFAR-100"),
        trades_is_worse("Tiny-ImageNet"),
    ),
)
_t9 = replace(
    _t8,
    key="P1.T9",
    title="Adversarially trained ResNet-18 models on SVHN, l_inf",
    groups=(SVHN,),
    claims=(more_on_f, resists_friends, resists_adversaries, trades_is_better("SVHN")),
)

T1 = replace(_t5, key="P1.T1", deviations=False, notes=(MEANS,)).item()
T2 = replace(_t7, key="P1.T2", deviations=False, notes=(MEANS,)).item()
T3 = replace(
    _t8,
    key="P1.T3",
    lines=(NATURAL[0], *ROBUST[:2], NATURAL[1], *ROBUST[2:]),
    references=(),
    deviations=False,
    notes=(MEANS,),
).item()
T5, T6, T7, T8, T9 = (table.item() for table in (_t5, _t6, _t7, _t8, _t9))
