"""Rows of two nets to compare, by hand."""

from test_risk import outcomes

from fftune.outcomes import Outcomes


def net(right, fooled=(), concealed=(), n=12, **known) -> Outcomes:
    """Rows of a net by the examples that it gets right, and those that attacks change."""
    clean = [0 if i in {*right} else 1 for i in range(n)]
    adv = [1 if c or i in {*fooled} else 0 for i, c in enumerate(clean)]
    hyp = [0 if not c or i in {*concealed} else 1 for i, c in enumerate(clean)]
    return outcomes([0] * n, clean, adv, hyp, **known)


# Right on 0 to 6 both, on 7 the first alone, on 8 the second alone; 9 to 11 are mistakes of both.
BEFORE = net(range(8), fooled=(0, 1), concealed=(8, 9))
AFTER = net((*range(7), 8), fooled=(0,), concealed=(9,))
