"""Bounds of a study: the best of one risk under a bound of the other, where it is known."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest

from fftune import recipes
from fftune.cli.sweep import main
from fftune.config import Bound, SweepConfig, study_json, study_of
from fftune.errors import ConfigError
from fftune.report.bounds import bound_lines
from fftune.risk import RiskCounts
from fftune.sweeping.front import Front
from fftune.sweeping.optuna_storage import read_search
from fftune.sweeping.optuna_study import open_search, tell
from fftune.sweeping.ray_scheduler import ParetoHalvingScheduler, PruneAwareOptunaSearch
from fftune.sweeping.samplers.spec import check_strategy, strategy_of
from fftune.sweeping.samplers.strategies import make_sampler
from fftune.sweeping.search_space import suggest
from fftune.sweeping.study_dir import StudyDir
from fftune.sweeping.sweep import sweep
from fftune.sweeping.trial_results import SeedResult
from tests.sweeping.coins import KIND

NATURAL = Bound(risk="natural_risk", most=0.3)


def coins(folder: Path, **changes: object):
    """Natural risk p and hypocritical risk (1 - p)^2 for p in [.1, .9], to whole examples of 100:
    under natural risk <= .3 the best has 30 mistakes, of which 15 are concealed."""
    file = folder / "coins.py"
    file.write_text(KIND)
    return replace(recipes.find(str(file))("tiny"), where=(NATURAL,), **changes)


def result(wrong: int, concealed: int, trial: int = 0) -> SeedResult:
    counts = RiskCounts(total=100, wrong=wrong, concealed=concealed)
    return SeedResult(
        trial=trial,
        settings={"share": wrong / 100},
        seed=0,
        model_hash="coin",
        validation=counts,
        test=counts,
        train_seconds=0.0,
        evaluate_seconds=0.0,
    )


def front(*results: SeedResult) -> Front:
    return Front(study="coins", objective="coins", selection="validation", results=results)


def test_a_bound_is_read_once_and_survives_its_json() -> None:
    for text in ("natural_risk <= 0.12", " natural_risk<=.12 ", "natural_risk <= 12/100"):
        assert Bound.parse(text) == Bound(risk="natural_risk", most=0.12)
    bound = Bound(risk="hypocritical_risk", most=1 / 3)
    assert Bound.parse(str(bound)) == bound
    config = SweepConfig(where=(bound, NATURAL))
    assert study_of(study_json(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("natural_risk < 0.1", "where must be RISK <= SHARE, as in 'natural_risk <= 0.12'"),
        ("natural_risk <= much", "where must be RISK <= SHARE"),
        ("natural_risk <= 12", "where: natural_risk must be at most a share in [0, 1], got 12.0"),
        ("natural_risk <= nan", "where: most must be finite, got nan"),
        ("natural_rsk <= 0.1", "where: unknown risk 'natural_rsk'; did you mean 'natural_risk'?"),
        ("accuracy <= 0.1", "where: unknown risk 'accuracy'; known: hypocritical_risk, natural"),
    ],
)
def test_a_mistake_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SweepConfig(where=(Bound.parse(text),))
    assert str(refused.value).startswith(message)


def test_a_risk_is_bounded_once() -> None:
    with pytest.raises(ConfigError, match="where must be of distinct risks"):
        SweepConfig(where=(NATURAL, replace(NATURAL, most=0.2)))


def test_bisection_knows_no_bounds_and_is_no_default_with_them() -> None:
    assert strategy_of(SweepConfig()) == "gap"
    assert strategy_of(SweepConfig(where=(NATURAL,))) == "gp"
    for strategy in ("auto", "gp", "tpe", "grid", "random"):
        check_strategy(SweepConfig(strategy=strategy, where=(NATURAL,)))
    with pytest.raises(ConfigError, match="where must be left out with strategy 'gap'"):
        check_strategy(SweepConfig(strategy="gap", where=(NATURAL,)))


def test_what_is_bounded_is_not_sought() -> None:
    hypocritical = replace(NATURAL, risk="hypocritical_risk")
    assert SweepConfig().sought == ("natural_risk", "hypocritical_risk")
    assert SweepConfig(where=(NATURAL,)).sought == ("hypocritical_risk",)
    assert SweepConfig(where=(hypocritical,)).sought == ("natural_risk",)
    assert SweepConfig(where=(NATURAL, hypocritical)).sought == ("hypocritical_risk",)


def test_gp_finds_the_best_under_a_bound(tmp_path: Path, root: Path) -> None:
    """The ends come first, 10 and 90 mistakes."""
    config = coins(tmp_path, trials=7)
    found = sweep(config, root=root, backend="inline")
    kept = [r.test.hypocritical_risk.value for r in found.results if r.test.wrong <= 30]
    assert min(kept) == 0.5
    search = read_search(StudyDir(root / "studies" / "coins", config))
    counts = {r.trial: r.validation for r in found.results}
    for trial in search.trials:
        one = counts[trial.number]
        assert trial.values == [one.hypocritical_risk.value]
        assert trial.constraints == {"natural_risk <= 0.3": one.natural_risk.value - 0.3}


def test_tpe_knows_the_bound(tmp_path: Path) -> None:
    """A quarter of the axis keeps it, and what is sought is least at the other end."""
    config = coins(tmp_path, strategy="tpe", trials=24)
    search = optuna.create_study(sampler=make_sampler(config))
    for _ in range(config.trials):
        trial = search.ask()
        wrong = round(100 * suggest(trial, config)["share"])
        tell(search, trial.number, [result(wrong, round(wrong * (1 - wrong / 100) ** 2))], config)
    kept = [t for t in search.trials if t.constraints[str(NATURAL)] <= 0]
    assert len(kept) >= 10
    assert min(t.values[0] for t in kept) <= 0.55


def test_a_study_goes_on_with_its_bounds(tmp_path: Path, root: Path) -> None:
    """A driver died after the third result, before it had told of it; Optuna hears it now."""
    config = coins(tmp_path, trials=3)
    sweep(config, root=root, backend="inline")
    folder = root / "studies" / "coins"
    journal = (folder / "optuna.journal").read_text().splitlines(keepends=True)
    # The end of the last trial: its constraint, and its values.
    assert "constraints" in journal[-2] and '"values"' in journal[-1]
    for lost in (1, 2):
        (folder / "optuna.journal").write_text("".join(journal[:-lost]))
        trial = open_search(StudyDir(folder, config)).trials[2]
        assert list(trial.constraints) == ["natural_risk <= 0.3"] and trial.values
    more = sweep(replace(config, trials=4), root=root, backend="inline", resume=True)
    assert len(more.results) == 4


def test_ray_tells_what_is_told_inline() -> None:
    config = SimpleNamespace(
        where=(NATURAL,),
        risks=("natural_risk", "hypocritical_risk"),
        sought=("hypocritical_risk",),
        selection="test",
    )
    inline = optuna.create_study()
    inline.ask()
    tell(inline, 0, [result(40, 10)], config)
    scheduler = ParetoHalvingScheduler(config.risks, rungs=[])
    search = PruneAwareOptunaSearch(
        scheduler,
        {"x": optuna.distributions.FloatDistribution(0, 1)},
        bounds={str(NATURAL): lambda r: NATURAL.excess([r[n] for n in config.risks], config.risks)},
        metric=["hypocritical_risk"],
        mode=["min"],
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    for name, natural in (("p", 0.4), ("q", float("nan"))):
        search.suggest(name)
        search.on_trial_complete(name, {"natural_risk": natural, "hypocritical_risk": 0.25})
    told, failed = search._ot_study.trials
    assert told.constraints == inline.trials[0].constraints == {str(NATURAL): 0.4 - 0.3}
    assert told.values == inline.trials[0].values == [0.25]
    assert failed.state.name == "FAIL" and not failed.constraints


def test_the_report_names_what_keeps_a_bound_and_the_best(tmp_path: Path) -> None:
    """28 of 100 are within .3; Wilson's interval of .28 ends at .375. 31 are not within."""
    found = front(result(10, 8, 0), result(28, 14, 1), result(31, 1, 2))
    (line,) = bound_lines(coins(tmp_path), found)
    assert line.startswith(
        "coins: natural_risk <= 0.3 on the validation images: kept by 2 of 3 trials (0, 1). Of "
        "these trial 1 (share 0.28) has the least hypocritical risk: 50.0% (95 % CI 32.6% to 67.4%)"
    )
    risk = "28.0% (95 % CI 20.1% to 37.5%)"
    above = ", whose interval reaches above 0.3"
    assert line.endswith(
        f"Its natural risk is {risk} on the validation images{above}; "
        f"{risk} on the test images{above}."
    )


def test_the_report_says_where_a_bound_is_safe_and_where_it_is_not_kept(tmp_path: Path) -> None:
    safe, worse = RiskCounts(total=100, wrong=10, concealed=5), RiskCounts(total=100, wrong=40)
    found = front(replace(result(10, 5), test=worse, validation=safe))
    (line,) = bound_lines(coins(tmp_path), found)
    assert "to 17.4%) on the validation images; 40.0%" in line
    assert line.endswith("on the test images, above 0.3.")
    (none,) = bound_lines(coins(tmp_path), front(result(40, 5), result(50, 5, 1)))
    assert none.endswith("on the validation images: none of 2 trials keeps that.")
    assert bound_lines(replace(coins(tmp_path), where=()), found) == []


def test_a_command_ends_with_what_keeps_the_bound(tmp_path: Path, root: Path, capsys) -> None:
    (tmp_path / "coins.py").write_text(KIND)
    where = ["--where", "natural_risk <= 0.3", "--strategy", "random"]
    main([str(tmp_path / "coins.py"), *where, "--backend", "inline", "--storage", str(root)])
    assert "natural_risk <= 0.3 on the validation images: " in capsys.readouterr().out
    page = (root / "studies/coins/report.html").read_text()
    assert "natural_risk &lt;= 0.3 on the validation images: " in page
