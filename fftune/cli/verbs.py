"""The verbs of the command line; each is a file of `fftune.cli`, named like it, with a `main`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb as `fftune --help` and an interrupted command tell of it."""

    help: str
    again: str
    """The way to go on after Ctrl-C."""


VERBS = {
    "data": Verb(
        "list, write, verify and sign data sets",
        "run it again: no half-written file was left",
    ),
    "train": Verb(
        "train one net, as published or at a smaller scale",
        "the same command with --resume goes on",
    ),
    "sweep": Verb(
        "train a front of models, natural against hypocritical risk",
        "the same command with --resume goes on",
    ),
    "evaluate": Verb(
        "attack a net, and count what was fooled and what was concealed",
        "run it again: finished blocks are kept",
    ),
    "audit": Verb(
        "judge a net by bars: pass, fail or inconclusive, with a page and an exit code",
        "run it again: finished blocks are kept",
    ),
    "gate": Verb(
        "compare two nets for a release: is the new one as good as the old?",
        "run it again: finished blocks are kept",
    ),
    "reproduce": Verb(
        "tables and figures of both papers, by their keys",
        "the same command goes on",
    ),
    "doctor": Verb(
        "tell a robust net from one that hides its gradients, and check the evaluation",
        "run it again: it starts anew",
    ),
    "report": Verb(
        "lay the fronts of finished studies side by side",
        "run it again: the studies are as they were",
    ),
    "view": Verb(
        "look at a study or at rows in a browser, image by image",
        "run it again: it starts anew",
    ),
}

FLAGS = ("--help", "--version", "--print-completion")
"""Flags of `fftune` itself."""
