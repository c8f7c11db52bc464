"""Claims of Tao et al. 2022 about tables of accuracies (sections 3.2 and 5.2)."""

from collections.abc import Iterable, Sequence

from fftune.papers.artifacts import Direction
from fftune.papers.false_friends.accuracy_table import Claim, Found
from fftune.papers.tables.directions import Larger, constant, direction

RISK = "R_hyp on D-"


def more_on_f(found: Found) -> Direction:
    """Perturbed by a friend, every net looks better than it is."""
    return direction(
        "F exceeds D for every net",
        (
            Larger(
                what=f"{line} {group}, F and D:", first=one.measure("F"), second=one.measure("D")
            )
            for (line, group), one in found.items()
        ),
    )


def excellent_on_f(*lines: str) -> Claim:
    """Nets of some kinds look almost perfect."""

    def claim(found: Found) -> Direction:
        return direction(
            f"F of {', '.join(lines)} is over 99 %",
            (
                Larger(what=f"{line} {group}:", first=one.measure("F"), second=constant(99.0))
                for (line, group), one in found.items()
                if line in lines
            ),
        )

    return claim


def worse_when_poisoned(*groups: str) -> Claim:
    """Poisons do what they are for; MLPs, on which they do little, are not among the groups."""
    claim = f"Poisoning nets have a lower D than Quality nets ({', '.join(groups)})"
    pairs = (("Quality", "Poisoning"),)
    return lambda found: _between(claim, found, "D", pairs, groups)


def naive_mlp(found: Found) -> Direction:
    """Random weights suffice for an MLP to be deceived, not for deeper nets."""
    mlp = found["Naive", "MLP"].measure("F")
    others = ((group, found["Naive", group].measure("F")) for group in ("VGG-16", "WRN-28-10"))
    return direction(
        "F of an untrained MLP exceeds that of the untrained convolutional nets",
        (Larger(what=f"MLP and {group}:", first=mlp, second=one) for group, one in others),
    )


def _between(
    claim: str,
    found: Found,
    name: str,
    pairs: Iterable[tuple[str, str]],
    groups: Sequence[str] | None = None,
) -> Direction:
    """A claim that in each group the first line of each pair has the larger number."""
    known = dict.fromkeys(group for _, group in found)
    return direction(
        claim,
        (
            Larger(
                what=f"{group}, {first} and {second}:",
                first=found[first, group].claimed(name),
                second=found[second, group].claimed(name),
            )
            for first, second in pairs
            for group in groups or known
        ),
    )


def against(claim: str, name: str, larger: str, smaller: str, *groups: str) -> Claim:
    """One training has a larger number than another on both kinds of data; no groups: in all."""
    pairs = tuple((f"{kind} ({larger})", f"{kind} ({smaller})") for kind in KINDS)
    return lambda found: _between(claim, found, name, pairs, groups or None)


KINDS = ("Poisoning", "Quality")


def resists_friends(found: Found) -> Direction:
    """Adversarial training conceals fewer mistakes."""
    return against(
        "PGD-AT has a lower hypocritical risk on D- than natural training", RISK, "NT", "PGD-AT"
    )(found)


def resists_adversaries(found: Found) -> Direction:
    """Adversarial training does what it is for."""
    return against("A of PGD-AT exceeds that of natural training", "A", "PGD-AT", "NT")(found)


def trades_is_better(*groups: str) -> Claim:
    """TRADES conceals fewer mistakes than PGD-AT on these data."""
    claim = f"TRADES has a lower hypocritical risk on D- than PGD-AT on {', '.join(groups)}"
    return against(claim, RISK, "PGD-AT", "TRADES", *groups)


def trades_is_worse(*groups: str) -> Claim:
    """TRADES conceals more on these data, as lambda = 6 is too small for them."""
    claim = f"TRADES has a higher hypocritical risk on D- than PGD-AT on {', '.join(groups)}"
    return against(claim, RISK, "TRADES", "PGD-AT", *groups)
