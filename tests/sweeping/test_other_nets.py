"""Averages and best nets of a study's trainings, judged beside the last ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from fftune.config import SweepConfig
from fftune.errors import ConfigError, DataError
from fftune.outcomes import Outcomes
from fftune.report.fronts import publish_fronts
from fftune.report.results import read_results
from fftune.report.variant_fronts import variant_fronts, variant_gaps
from fftune.sweeping.cost import cost
from fftune.sweeping.sweep import sweep

NONE = 1e-30
"""A decay of which nothing is left: the average is the last net, to the bit."""


@pytest.mark.slow
def test_equal_nets_are_equal_on_every_page(quick: SweepConfig, root: Path) -> None:
    optimizer = replace(quick.base.optimizer, epochs=3)
    base = replace(quick.base, average_decay=NONE, optimizer=optimizer, model="mlp", width=8)
    config = replace(quick, base=base, strategy="grid", lam=(0.0, 100.0), variants=True)
    sweep(config, root=root, backend="inline")
    folder = root / "studies/quick/trials/1"
    last, average, best = (
        Outcomes.read(folder / f"outcomes{net}.parquet").to_pandas()
        for net in ("", "-average", "-best")
    )
    assert len(best) == len(last)
    assert last["pred_pert"].equals(average["pred_pert"])

    (study,) = read_results(["quick"], root)
    fronts = variant_fronts(study)
    assert [*fronts] == ["average", "best"]
    assert fronts["average"].curve("test") == study.front.curve("test")
    assert fronts["average"].hypervolume("test") == study.front.hypervolume("test")
    gap, _ = variant_gaps(study, {"average": fronts["average"], "best": fronts["best"]})
    assert len(study.front.members) == 1 or not gap.band.gap.any()

    page = publish_fronts({"quick": config}, root)
    said = " ".join(page.text.split())
    assert (
        "Other nets of the trainings of quick, not as published: papers take the last net" in said
    )
    (row,) = [line.split() for line in page.text.splitlines() if line.startswith("1 ")][1:]
    risks = [cell for cell in row[2:] if cell != "%"]
    assert len(risks) == 6
    assert (risks[0], risks[3]) == (risks[1], risks[4])
    assert f"{float(risks[0]):.1f}" == f"{100 * study.front.results[1].test.natural_risk.value:.1f}"
    assert "the average nets of quick (not as published)" in said
    html = (root / "studies/quick/report.html").read_text()
    assert "the average nets of quick (not as published)" in html

    (folder / "outcomes-best.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"outcomes .*outcomes-best.parquet.*") as error:
        variant_fronts(study)
    assert "\n" not in str(error.value)


def test_all_nets_are_in_the_cost(quick: SweepConfig) -> None:
    one, three = cost(quick), cost(replace(quick, variants=True))
    # Three trials; two attacks of 2 steps, with 2 predictions each; two splits of 200 images.
    assert three.forwards - one.forwards == 2 * 3 * (2 * 2 + 2 * 2) * 2 * 200
    assert three.epochs == one.epochs


def test_trainings_that_keep_no_other_net_have_none_to_judge(quick: SweepConfig) -> None:
    base = replace(quick.base, average_decay=0.0, validate_every=0)
    rule = "variants must be off where trainings keep none"
    with pytest.raises(ConfigError, match=rule):
        replace(quick, base=base, variants=True)
