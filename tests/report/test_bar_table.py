import pytest

from fftune.report.bar_table import bar_line, bar_table, decided, judged
from fftune.risk import Rate

FIG_2 = {
    "clean_accuracy": Rate(9438, 10_000),
    "accuracy/pgd-20 adversarial": Rate(0, 10_000),
    "accuracy/pgd-20 hypocritical": Rate(10_000, 10_000),
    "risk/pgd-20 hypocritical": Rate(562, 562),
}
"""Quality in Tao et al. 2022, figure 2."""
HEDGED = FIG_2 | {
    "defense/hedge/clean_accuracy": Rate(9999, 10_000),
    "defense/hedge/accuracy/pgd-20 hypocritical": Rate(9998, 10_000),
    "defense/hedge/accuracy/aware-hedge hypocritical": Rate(3, 5),  # on mistakes alone: no score
    "defense/hedge/accuracy/known-hedge hypocritical": Rate(10_000, 10_000),  # the draw is leaked
}


def test_a_net_that_fails_clean_and_would_pass_once_touched() -> None:
    (found,) = judged(FIG_2, 0.999)
    assert (found.clean.outcome, found.friend, found.touched["pgd-20"].outcome) == (
        *("fail", "pgd-20", "pass"),
    )
    said = bar_table((found,))
    assert "bar of 99.9%: fail" in said and "from n = 3,838 on" in said
    assert "94.38% (95 % CI 93.91% to 94.81%, n = 10,000): fail, point estimate fail" in said
    assert "would pass once touched: yes by the point estimate, as published; yes by its" in said


def test_too_few_images_to_believe_the_point() -> None:
    few = {"clean_accuracy": Rate(998, 999), "accuracy/pgd-20 hypocritical": Rate(999, 999)}
    (found,) = judged(few, 0.999)
    assert found.would_pass == "yes by the point estimate, as published; undecided by its interval"
    assert decided((found,)) == "inconclusive"


def test_behind_a_defense_only_scores_count() -> None:
    bare, hedged = judged(HEDGED, 0.999)
    assert (bare.behind, hedged.behind) == ("", "hedge")
    assert hedged.touched.keys() == {"pgd-20"}
    assert hedged.clean.outcome == "pass" and decided((bare, hedged)) == "fail"
    assert "behind hedge, would pass once touched: yes" in bar_table((bare, hedged))


def test_the_friend_is_the_best_of_them() -> None:
    several = FIG_2 | {"accuracy/fgsm hypocritical": Rate(9500, 10_000)}
    (found,) = judged(several, 0.999)
    assert found.friend == "pgd-20" and len(found.lines()) == 4


@pytest.mark.parametrize("rates", [{"clean_accuracy": Rate(1, 2)}, {}])
def test_what_is_not_known_is_said(rates) -> None:
    found = judged(rates, 0.5)
    said = bar_table(found) + bar_line("net", found)
    assert ("unknown: no false friend" in said) == bool(rates)
    assert ("no verdict" in said) != bool(rates)


def test_no_score_is_rounded_to_the_bar() -> None:
    (found,) = judged({"clean_accuracy": Rate(99_989, 100_000)}, 0.9999)
    assert "99.989%" in bar_table((found,))


def test_a_certificate_rules_out_that_a_score_is_faked() -> None:
    """F of at most 83.86% is below a bar of 90%, and above one of 80%."""
    rates = {
        "clean_accuracy": Rate(5666, 10_000),
        "accuracy/pgd-20 hypocritical": Rate(7706, 10_000),
    }
    rates["certified_bound/hypocritical_accuracy"] = Rate(8386, 10_000)
    (low,), (high,) = judged(rates, 0.8), judged(rates, 0.9)
    assert low.would_pass.startswith("no by the point estimate")
    assert high.would_pass == (
        "no, whatever a false friend does: certified to score at most 83.86% of these images"
    )
