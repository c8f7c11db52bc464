"""Tables of a page: under headings, without what all rows share, and with their words told."""

from collections.abc import Iterable
from html import escape

import pandas as pd

WORDS = {
    "front": "* where no other model of the study is better in all risks on the images that "
    "selected.",
    "natural risk": "Share of clean images on which the model errs.",
    "hypocritical risk": "Of the model's own mistakes, the share that a false friend makes look "
    "right.",
    "n-": "Number of the model's own mistakes, of which hypocritical risk is a share.",
    "inflation": "Share of all images that is concealed: what a false friend adds to the score.",
    "validation": "Natural risk, hypocritical risk on the validation images.",
    "D": "Accuracy on clean images.",
    "A": "Accuracy on images after an adversary.",
    "F": "Accuracy on images after a false friend.",
    "last-iterate violations": "Images on which an attack's last step did the opposite of its "
    "goal: an adversary's put a mistake right, or a friend's broke a right answer.",
    "crafted": "Images that training perturbed: its cost on any machine.",
    "train s": "Seconds of training.",
    "hypervolume": "Area that the front dominates below the corner where both risks are 1; "
    "larger is better.",
    "crafted to 95 % of it": "Images that trainings perturbed until the trials so far reached "
    "95 % of the hypervolume on test images.",
    "not monotone": "Neighbours in lambda of which the larger has the smaller natural risk, or the "
    "larger hypocritical risk: against what the weight promises.",
    "inflation, test": "Share of all test images that is concealed, over seeds.",
    "bound": "kept where the trial keeps every bound of --where on the images that select.",
    "seeds": "Number of training seeds; sd is the deviation between them.",
    "clean": "Accuracy on clean images, behind the defense.",
    "robust": "Right on the clean image and on the attacked one, behind one draw of the defense.",
    "corrected (FtoT)": "Attacked images that are false without the defense and true behind it.",
    "broken (TtoF)": "Attacked images that are true without the defense and false behind it.",
    "robust, attackers know": "The same against attackers who know the defense, too.",
    "hypocritical, friends know": "Hypocritical risk by false friends who know the defense.",
    "n, attackers know": "Number of images that attackers who know the defense were run on.",
}
"""Meanings of the headings of tables, by how they begin."""


def one_by_one(frame: pd.DataFrame) -> str:
    """Lay out rows of several studies as a table a study, under its name."""
    if "study" not in frame:
        return scrolling(frame)
    parts = frame.groupby("study", sort=False)
    return "".join(
        f"<h3>{escape(str(name))}</h3>{scrolling(part.drop(columns='study'))}"
        for name, part in parts
    )


def scrolling(frame: pd.DataFrame) -> str:
    """Lay out a table that scrolls sideways where it is wider than the page."""
    return f'<div class="scroll">{frame.to_html(index=False, border=0)}</div>'


def meanings(*frames: pd.DataFrame) -> str:
    """List the words at the heads of tables with their meanings, each once."""
    heads = [str(name) for frame in frames for name in frame.columns]
    known = {word: WORDS[word] for word in map(_word, heads) if word}
    if not known:
        return ""
    items = "".join(f"<dt>{escape(w)}</dt><dd>{escape(m)}</dd>" for w, m in known.items())
    return f"<details open><summary>What the words mean</summary><dl>{items}</dl></details>"


def _word(head: str) -> str:
    """The longest known beginning of a heading; empty if there is none."""
    fitting: Iterable[str] = (w for w in WORDS if head == w or head.startswith(f"{w},"))
    return max(fitting, key=len, default="")
