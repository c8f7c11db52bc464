"""Ablations of Hedge Defense (Wu et al. 2021, figures 3 and 7): grids of a hedge sweep.

    python experiments/2026-11-21-hedge-ablations.py GRID... -- --model FILE.py:FUNCTION [FLAG ...]

A GRID is `k`, `eps-d`, `eps-a` or `map`, with `-cw` for figure 3 or `-pgd` for figure 7; the flags
are those of `python -m fftune.sweep hedge`. Each is a study `hedge-GRID` with a report that holds
its curves or maps.
"""

import sys

from fftune.cli.options import run
from fftune.cli.sweep import main
from fftune.errors import ConfigError


def pixels(*steps: int) -> str:
    """Radii in 8-bit steps, as a dimension's choices."""
    return ",".join(repr(step / 255) for step in steps)


FIXED_STEP = ("--base.step-size", repr(4 / 255))
"""eta, which the paper does not vary with eps_d."""
EPS_D, EPS_A = f"eps_d={pixels(4, 8, 16, 32)}", f"attack.threat.eps={pixels(2, 4, 6, 8)}"
GRIDS = {
    "k": ("--space", "steps=0,1,2,3,5,10,20"),  # a
    "eps-d": ("--space", f"eps_d={pixels(1, 2, 4, 8, 16, 32)}", *FIXED_STEP),  # b
    "eps-a": ("--space", f"attack.threat.eps={pixels(1, 2, 4, 6, 8)}"),  # c
    "map": ("--space", EPS_A, EPS_D, *FIXED_STEP),  # d
}
FIGURES = {"cw": 3, "pgd": 7}
"""The paper's figures, by the search that attacks."""


def ablate(arguments: list[str]) -> None:
    """One grid after another."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    names, flags = arguments[:at], arguments[at + 1 :]
    known = [f"{grid}-{search}" for search in FIGURES for grid in GRIDS]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"grids must be some of {', '.join(known)}, got {unknown or names}")
    for name in names:
        grid, _, search = name.rpartition("-")
        print(f"\n# {name}, figure {FIGURES[search]}\n")
        settings = [*GRIDS[grid], "--base.attack.search", search, *flags]
        main(["hedge", "--name", f"hedge-{name}", "--strategy", "grid", *settings])


run(ablate, sys.argv[1:])
