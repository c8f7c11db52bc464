"""Galleries of Tao et al. 2022: mistakes whose labels turn from red to green once a friend came.

Figure 1 (its right part; the left one is a drawing of the workflow) and table 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from fftune.config import DataSpec, Device, ModelSpec, ThreatModel
from fftune.errors import ConfigError
from fftune.papers.artifacts import Direction, Gallery, Picture, Strip
from fftune.papers.declarations import Analysis, Net, Setup
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tasks import Given
from fftune.recipes import TrainingData

KINDS: tuple[TrainingData, ...] = ("naive", "noise", "mislabeling", "poisoning", "quality")
"""Training data of the five nets, in the paper's order."""
PUBLISHED_IDS = (422, 4503, 8778, 9910)
"""Ids of table 4, positions in CIFAR-10's published order."""
ORDER = (
    "The paper shows #422, #4503, #8778 and #9910 of the order in which CIFAR-10 was published. "
    "Ids here are positions among images sorted by class and file name, where these numbers are "
    "other images. Shown are the first that a friend conceals for all nets, or for most; at the "
    "full scale those of the paper's numbers come first of which this is true."
)


def gallery(
    spec: ModelSpec,
    data: DataSpec,
    threat: ThreatModel,
    ids: Sequence[int] | None = None,
    device: Device = "auto",
) -> Gallery:
    """Show images as a net sees them, before and after a false friend has touched them.

    Args:
        spec: any net, such as that of a checkpoint.
        data: its test images are shown.
        threat: the ball of the friend, who takes PGD's 20 steps as in battery `risks`.
        ids: the images; None: the first mistakes that are concealed, eight at most.

    Raises:
        DataError: an id is none of the test images; the line names the known range.
        ModelError: the net cannot be built, or does not take the images.
        ConfigError: no ids.
    """
    from fftune.papers.false_friends.concealed import conceal

    if ids is not None and not ids:
        raise ConfigError("ids must be one or more, as in 3 17, got none")
    settings: dict[str, Any] = {"count": 8} if ids is None else {"ids": list(ids)}
    found = conceal(
        Given(
            nets=(spec,),
            data=data,
            threat=threat,
            examples=None,
            device=device,
            scale="full",
            settings=settings,
        )
    )
    title = f"Images of {data.name} before and after a false friend, seen by {spec.label}"
    return _by_image(f"gallery-{spec.label}", title, found, net=0, notes=(_legend(found),))


def _table(setup: Setup) -> Analysis:
    """The five nets on the same images."""
    return Analysis(
        run="fftune.papers.false_friends.concealed:conceal",
        nets=tuple(Net(kind=kind) for kind in KINDS),
        size="all",
        settings=_settings(setup),
    )


def _illustration(setup: Setup) -> Analysis:
    """The net that was trained on wrong labels."""
    return Analysis(
        run="fftune.papers.false_friends.concealed:conceal",
        nets=(Net(kind="mislabeling"),),
        size="all",
        settings=_settings(setup),
    )


def _settings(setup: Setup) -> tuple[tuple[str, Any], ...]:
    return (("first", PUBLISHED_IDS),) if setup.scale == "full" else ()


def _build_table(results: Results) -> Iterator[Gallery]:
    needed = _table(results.setup)
    found = results.analysis(needed)
    title = "Mistakes of naturally trained nets before and after a false friend"
    if found is None:
        reason = results.why_missing(needed)
        yield Gallery(name="P1.T4", title=title, strips=(), notes=(f"missing: {reason}",))
        return
    yield Gallery(
        name="P1.T4",
        title=title,
        strips=tuple(
            Strip(
                label=kind,
                pictures=tuple(picture for one in shown for picture in _pictures(one, found)),
            )
            for kind, shown in zip(KINDS, found["shown"], strict=True)
        ),
        columns=tuple(
            column
            for i, one in zip(found["ids"], found["shown"][0], strict=True)
            for column in (f"#{i}: {found['classes'][one['y']]}", "perturbation", "perturbed")
        ),
        notes=(_legend(found), _searched(found, len(KINDS)), ORDER),
        directions=(_all_conceal(found),),
    )


def _build_illustration(results: Results) -> Iterator[Gallery]:
    needed = _illustration(results.setup)
    found = results.analysis(needed)
    title = "False sense of a good net, which learnt from random labels"
    if found is None:
        reason = results.why_missing(needed)
        yield Gallery(name="P1.F1", title=title, strips=(), notes=(f"missing: {reason}",))
        return
    left = "Left part of the figure: a drawing of the workflow, which nothing is computed for."
    notes = (_legend(found), _searched(found, 1), left)
    yield _by_image("P1.F1", title, found, net=0, notes=notes)


def _by_image(
    name: str, title: str, found: Mapping[str, Any], *, net: int, notes: tuple[str, ...]
) -> Gallery:
    """A strip an image, for one net."""
    return Gallery(
        name=name,
        title=title,
        strips=tuple(
            Strip(label=f"#{i}: {found['classes'][one['y']]}", pictures=_pictures(one, found))
            for i, one in zip(found["ids"], found["shown"][net], strict=True)
        ),
        columns=("clean", "perturbation", "perturbed"),
        notes=notes,
    )


def _pictures(one: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[Picture, ...]:
    """An image, the change, and the changed image, with the labels that a net gives them."""
    classes, y, before, after = found["classes"], one["y"], one["before"], one["after"]
    red: Literal["red", ""] = "red" if before != y else ""
    green: Literal["green", ""] = "green" if red else ""
    return (
        Picture(png=one["x"], caption=classes[before], colour=red),
        Picture(png=one["delta"], caption=f"x {found['scale']:.3g}"),
        Picture(png=one["x_hyp"], caption=classes[after], colour="red" if after != y else green),
    )


def _legend(found: Mapping[str, Any]) -> str:
    return (
        "Labels are predictions. Red: a wrong one. Green: the right one, of an image that is "
        f"mistaken when clean. Perturbations are shown {found['scale']:.3g} times as large, around "
        "grey."
    )


def _searched(found: Mapping[str, Any], nets: int) -> str:
    who = "the net gets" if nets == 1 else f"all {nets} nets get"
    return (
        f"Of {found['searched']:,} test images that were attacked, {who} {found['common']:,} wrong "
        "that a friend conceals."
    )


def _all_conceal(found: Mapping[str, Any]) -> Direction:
    counts = [
        sum(one["before"] != one["y"] == one["after"] for one in shown) for shown in found["shown"]
    ]
    shown = len(found["ids"])
    seen = ", ".join(f"{kind} {n} of {shown}" for kind, n in zip(KINDS, counts, strict=True))
    return Direction(
        claim="a friend conceals mistakes of every net, whatever it learnt from",
        found=all(counts) if shown else None,
        seen=seen,
    )


F1 = Item(
    key="P1.F1",
    title="A net that learnt from random labels, on images that a false friend has touched",
    needs=lambda setup: [_illustration(setup)],
    build=_build_illustration,
)
T4 = Item(
    key="P1.T4",
    title="Mistakes that a false friend conceals, for nets of five kinds of training data",
    needs=lambda setup: [_table(setup)],
    build=_build_table,
)
