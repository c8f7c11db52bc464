"""Fronts of the nets that trainings leave beside the last one, which are not as published.

They are compared with the front of the last nets at equal natural risk: an average of weights is
often a move along the trade-off as well, and not only a better net.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isnan

from fftune.comparison import front_gap
from fftune.config.model import NOT_PUBLISHED, VARIANTS
from fftune.outcomes import Outcomes
from fftune.report.gaps import Gap
from fftune.report.results import StudyResult
from fftune.report.terminal import Block, Cell, grid
from fftune.sweeping.front import Front
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.training_trial import counts_of, hypocritical_rows, rows_file
from fftune.sweeping.trial_results import RISKS, SeedResult


def variant_fronts(study: StudyResult) -> dict[str, Front]:
    """Fronts of the other nets of a study's trainings, by `VARIANTS`; none where none was judged.

    The trials on each are chosen as those of the study's own front: by that net's own rows on the
    split that selects.

    Raises:
        DataError: a file of rows is damaged.
    """
    fronts: dict[str, Front] = {}
    for variant in VARIANTS if study.folder else ():
        results = [_result(study, one, variant) for one in study.front.results]
        some = tuple(result for result in results if result is not None)
        if some:
            fronts[variant] = replace(study.front, results=some, estimates={})
    return fronts


def variant_gaps(study: StudyResult, fronts: Mapping[str, Front]) -> list[Gap]:
    """Other nets' fronts against that of the last nets, at equal natural risk on test images."""
    name = study.config.name
    last = _member_rows(study, study.front, "") if fronts else []
    return [
        Gap(
            (f"the {variant} nets of {name} (not as published)", "its last nets"),
            front_gap(_member_rows(study, front, variant), last),
        )
        for variant, front in fronts.items()
    ]


def variant_blocks(study: StudyResult, fronts: Mapping[str, Front]) -> list[Block]:
    """A row a trial with both risks of each of its nets on test images; empty without fronts."""
    if not fronts:
        return []
    nets = {"last": study.front, **fronts}
    heads = [f"{risk.partition('_')[0]}, {net}" for risk in RISKS for net in nets]
    rows: list[list[Cell]] = [["trial", "lambda", *heads]]
    for trial in study.front.trials:
        lam = "-" if trial.lam is None else f"{trial.lam:.4g}"
        rows.append([str(trial.trial), lam, *_cells(trial.trial, nets)])
    areas = ", ".join(f"{net} {front.hypervolume('test'):.4f}" for net, front in nets.items())
    words = " and ".join(f"{net}: {VARIANTS[net]}" for net in fronts)
    title = f"Other nets of the trainings of {study.config.name}, {NOT_PUBLISHED}"
    return [
        grid(rows, title, labels=2),
        f"{words}. Both risks on test images, means over seeds. Hypervolume: {areas}.",
    ]


def _cells(number: int, nets: Mapping[str, Front]) -> Iterator[str]:
    for risk in RISKS:
        for front in nets.values():
            found = [trial for trial in front.trials if trial.trial == number]
            value = found[0].estimate("test", risk).mean if found else float("nan")
            yield "-" if isnan(value) else f"{100 * value:.1f} %"


def _result(study: StudyResult, last: SeedResult, variant: str) -> SeedResult | None:
    """Counts of another net of a training; None where it was not judged."""
    assert study.folder is not None
    folder = StudyDir(study.folder, study.config).seed_folder(last.trial, last.seed)
    path = folder / rows_file(variant)
    if not path.exists():
        return None
    counts = counts_of(study.config, Outcomes.read(path))
    return replace(
        last, model_hash="", validation=counts["validation"], test=counts["test"], brackets=()
    )


def _member_rows(study: StudyResult, front: Front, variant: str) -> list[list[Outcomes]]:
    """Rows of each member of a front on test images, one table a seed."""
    assert study.folder is not None
    folder = StudyDir(study.folder, study.config)
    return [hypocritical_rows(folder, one.trial, "test", variant) for one in front.members]
