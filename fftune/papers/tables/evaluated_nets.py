"""Rows of evaluated nets by name: those of anybody, for tables like the papers'."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fftune.config import Split, nearest, told_radius
from fftune.errors import DataError
from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes, questions_in

_SEED = re.compile(r"[-_ ]seeds?[-_ ]?(?P<seed>\d+)(?=$|[-_ ])(-[0-9a-f]{12}$)?")
"""Words of a name that tell the seed, with the hash of a task of the papers."""
HISTORY = "history.parquet"
"""File beside the rows of a training that holds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Nets with the rows of a split, all of them on the same terms."""

    nets: Mapping[str, Sequence[Outcomes]]
    """Rows of each training seed, by the label of their row in a table."""
    terms: str
    """Words for the images and the ball."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    label: str
    seed: str
    model_hash: str
    outcomes: Outcomes


def read_evaluated(names: Sequence[str], root: Path, split: Split = "test") -> Evaluated:
    """Read the rows of nets on a split.

    Nets whose names differ in the seed alone, or that lie in `seeds/N` of a study, are one net with
    several seeds; several evaluations of one net are put together.

    Args:
        names: evaluations as they lie in `<root>/rows`, nets by the names that they were evaluated
            under, studies, Parquet files or folders of them.

    Raises:
        DataError: there are no rows of a name, the nearest is named; none of the split; nets are
            not on the same data, norm and radius, or one has the same rows twice.
    """
    paths = dict.fromkeys(path for name in names for path in _paths(name, root))
    found: dict[tuple[str, str, str], dict[str, Outcomes]] = {}
    for path in paths:
        for one in _nets(path):
            key = (one.label, one.seed, one.model_hash)
            found.setdefault(key, {})[path.stem] = _of_split(one, split)
    merged = {key: _merged(key[0], parts) for key, parts in found.items()}
    return Evaluated(nets=_labelled(merged), terms=_terms(merged))


def _paths(name: str, root: Path) -> list[Path]:
    """Files that a name stands for."""
    rows = root / "rows"
    if (given := Path(name)).is_file():
        return [given]
    if (one := rows / f"{name}.parquet").is_file():
        return [one]
    for folder in (given, root / "studies" / name):
        if found := _inside(folder):
            return found
    known = {path: _net_names(path) for path in sorted(rows.glob("*.parquet"))}
    if found := [path for path, nets in known.items() if name in nets]:
        return found
    others = {*(net for nets in known.values() for net in nets), *(path.stem for path in known)}
    others |= {path.parent.name for path in (root / "studies").glob("*/config.json")}
    raise DataError(f"net {name!r} has no rows in {str(rows)!r}; {nearest(name, sorted(others))}")


def _inside(folder: Path) -> list[Path]:
    """Files of rows in a folder: its own, or those of the trials of a study."""
    if not folder.is_dir():
        return []
    own = [path for path in sorted(folder.glob("*.parquet")) if path.name != HISTORY]
    return own or sorted(folder.glob("trials/**/outcomes.parquet"), key=_numbers)


def _numbers(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]


def _net_names(path: Path) -> set[str]:
    return {str(question.get("net", "")) for question in questions_in(path)} - {""}


def _nets(path: Path) -> Iterator[_Rows]:
    outcomes = Outcomes.read(path)
    names = {q.get("model_hash"): str(q.get("net", "")) for q in outcomes.questions}
    parts = path.absolute().parts
    of_study = re.fullmatch(r"\d+", parts[-2]) and parts[-3:-2] == ("seeds",)
    for model_hash in sorted(outcomes.values("model_hash")):
        name = names.get(model_hash) or path.stem
        told = _SEED.search(name)
        yield _Rows(
            label=name[: told.start()] + name[told.end() :] if told else name,
            seed=told["seed"] if told else parts[-2] if of_study else "",
            model_hash=model_hash,
            outcomes=outcomes.where(model_hash=model_hash),
        )


def _of_split(one: _Rows, split: Split) -> Outcomes:
    rows = one.outcomes.where(split=split)
    if not len(rows):
        others = ", ".join(sorted(one.outcomes.values("split")))
        raise DataError(f"net {one.label!r} has no rows on split {split}, only on {others}")
    return rows


def _merged(label: str, parts: Mapping[str, Outcomes]) -> Outcomes:
    """Put the evaluations of one net together."""
    try:
        return Outcomes.of(part.table for part in parts.values())
    except DataError:
        names = " and ".join(parts)
        raise DataError(
            f"net {label!r} has the same attacks in several evaluations; name one of {names}"
        ) from None


def _labelled(
    merged: Mapping[tuple[str, str, str], Outcomes],
) -> dict[str, list[Outcomes]]:
    """Group seeds; nets of one name that are none of each other get their hash beside it."""
    labels: dict[str, list[Outcomes]] = {}
    for (label, seed, model_hash), outcomes in merged.items():
        others = {h for name, s, h in merged if name == label and (s == seed or not (s and seed))}
        shown = f"{label} ({model_hash[:6]})" if len(others) > 1 else label
        labels.setdefault(shown, []).append(outcomes)
    return labels


def _terms(merged: Mapping[tuple[str, str, str], Outcomes]) -> str:
    """Images and ball that all rows share.

    Raises:
        DataError: they do not; a table would mix what cannot be compared.
    """
    seen: dict[str, dict[str, str]] = {}
    for (label, *_), outcomes in merged.items():
        for term, values in _terms_of(outcomes).items():
            for value in values:
                seen.setdefault(term, {}).setdefault(value, label)
    for term, whose in seen.items():
        if len(whose) > 1:
            (one, first), (other, second), *_ = whose.items()
            raise DataError(
                f"nets {first!r} and {second!r} differ in {term}: {one} and {other}; a table holds "
                "one data set, one norm and one radius"
            )
    data = {str(q.get("data", "")) for rows in merged.values() for q in rows.questions}
    (split,), (norm,), (eps,) = (seen[term] for term in ("split", "norm", "eps"))
    return ", ".join([*sorted(data - {""}), split, f"{norm}, eps {eps}"])


def _terms_of(outcomes: Outcomes) -> dict[str, list[str]]:
    """Values of what rows have in common; clean images are in no ball."""
    attacked = [attack for attack in outcomes.values("attack") if attack != CLEAN]
    parts = [outcomes.where(attack=attack) for attack in attacked]
    return {
        "images": sorted(outcomes.values("dataset_hash")),
        "split": sorted(outcomes.values("split")),
        "norm": sorted({norm for part in parts for norm in part.values("norm")}),
        "eps": [told_radius(e) for e in sorted({e for p in parts for e in p.values("eps")})],
    }
