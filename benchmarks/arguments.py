"""Values of the scripts' flags; a wrong one is a line, before anything is timed."""

import argparse

import torch


def whole(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1, got {text!r}")
    return int(text)


def device(text: str) -> str:
    """A device, cpu or cuda, that torch sees."""
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"must be cpu or cuda, got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("is cuda, and torch sees none here")
    return text
