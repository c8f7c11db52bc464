"""Figures of Hedge Defense, built from planted results."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from fftune.errors import ConfigError
from fftune.hedge_study.showcase_schema import Flips
from fftune.papers.artifacts import Figure, Gallery, Table
from fftune.papers.declarations import Analysis, Exam, Net, Setup
from fftune.papers.hedge_defense import effect_claims
from fftune.papers.hedge_defense import figures as p2_figures
from fftune.papers.hedge_defense.analyses import MAP_A, MAP_D, STEPS, _hedges
from fftune.papers.hedge_defense.plots import flip_bars
from fftune.papers.hedge_defense.second_attack_table import second_attack_table
from fftune.papers.zoo import ZooNet
from fftune.registry import PAPERS

TINY = Setup(scale="tiny")
PRINTED = {
    "correct": 8492,
    "flipped": 2908,
    "survived": 5584,
    "flipped_again": 2889,
    "returned": 1928,
    "survivors_flipped": 2551,
}
FIRST = PRINTED | {"flipped_again": 2700, "survivors_flipped": 500}


@dataclass
class Planted:
    """Results by the function of an analysis."""

    found: Mapping[str, Any]
    setup: Setup = field(default_factory=lambda: TINY)

    def analysis(self, need: Analysis) -> Any:
        return self.found.get(need.run.rpartition(":")[2])

    def rows(self, need: Exam) -> Any:
        return self.found.get("rows")

    def why_missing(self, need: object) -> str:
        return "it ran out of memory"


def flips(corrected: int, broken: int, **more: Any) -> Flips:
    return Flips(
        **{"attack": "pgd-20", "defense": "hedge", "n": 100} | more,
        right_before=50,
        right_after=50 + corrected - broken,
        false_to_true=corrected,
        true_to_false=broken,
        false_to_false=3,
    )


def points() -> list[dict[str, Any]]:
    """The more the attack or K, the more is corrected; a hedge of 32/255 breaks as much."""
    return [
        {"eps_a": a, "eps_d": d, "steps": k}
        | asdict(flips(2 * a + 4 * (k >= 3) + 2 * (k > 5), 2 if d < 32 else 20))
        for a in (1, 2, 4, 6, 8)
        for d, k in _hedges(a)
    ]


def built(item: Any, **found: Any) -> list[Any]:
    return list(item.build(Planted(found)))


@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7, 8, 9])
def test_every_figure_says_why_it_is_missing(number: int) -> None:
    item = PAPERS[f"P2.F{number}"]
    assert item.key == f"P2.F{number}"
    parts = built(item)
    assert parts and all(isinstance(one, Figure) for one in parts)
    assert all("it ran out of memory" in one.notes[0] for one in parts)


def test_figures_share_what_they_need() -> None:
    needs = {n: list(PAPERS[f"P2.F{n}"].needs(TINY)) for n in (1, 2, 3, 5, 6, 7, 8, 9)}
    assert needs[1] == needs[5] == needs[6] and set(needs[1]) < set(needs[2])
    assert needs[8] == [needs[2][0]] and needs[3] != needs[7]
    assert needs[8][0] in PAPERS["P2.T1"].needs(TINY)
    nets = {
        need.net if isinstance(need, Exam) else need.nets[0] for n in needs.values() for need in n
    }
    assert nets == {Net(objective="trades", lam=6)}
    theirs = ZooNet(name="Zhang2019Theoretically", factory="fftune:resnet18")
    assert p2_figures.net_of(Setup(scale="tiny", zoo=(theirs,))) == theirs
    gone = ZooNet(name="Zhang2019Theoretically", factory="fftune:resnet18", weights="/nowhere.pt")
    assert p2_figures.net_of(Setup(scale="full", zoo=(gone,))) == Net(objective="trades", lam=6)


def test_limits_reach_the_analyses_that_they_are_about() -> None:
    setup = Setup(scale="tiny", limits={"pictures": 9, "attacked_twice": 1000})
    (effects,), (second,) = p2_figures.F5.needs(setup), p2_figures.F9.needs(setup)
    assert isinstance(effects, Analysis) and effects.settings == (("pictures", 9),)
    assert isinstance(second, Analysis) and second.settings == (("attacked_twice", 1000),)
    assert list(p2_figures.F3.needs(setup)) == list(p2_figures.F3.needs(TINY))
    with pytest.raises(ConfigError, match="unknown name 'picture'; did you mean 'pictures'"):
        Setup(scale="tiny", limits={"picture": 9})
    with pytest.raises(ConfigError, match="grid must be >= 2"):
        Setup(scale="tiny", limits={"grid": 1})


def test_panels_of_the_ablation_show_its_points() -> None:
    (figure,) = built(p2_figures.F3, ablation={"radius": 0.15, "points": points()})
    *curves, heat = figure.plot.data
    assert list(heat.x) == [str(a) for a in MAP_A] and list(heat.y) == [str(d) for d in MAP_D]
    assert heat.z[1][3] == (50 + 2 * 8 + 6 - 2) / 100 and heat.z[3][0] == (50 + 4 + 6 - 20) / 100
    over_k = {one.name: one for one in curves if one.xaxis == "x"}
    assert list(over_k["FtoT"].x) == list(STEPS)
    assert list(over_k["FtoT"].y) == [16, 16, 16, 20, 20, 22, 22]
    assert list(over_k["FtoT - TtoF"].y) == [14, 14, 14, 18, 18, 20, 20]
    (over_d,) = (one for one in curves if (one.xaxis, one.name) == ("x2", "TtoF"))
    assert list(over_d.x) == [1, 2, 4, 8, 16, 32] and list(over_d.y) == [2] * 5 + [20]
    assert [one.found for one in figure.directions] == [True, None, True]
    assert "0.15" in " ".join(figure.notes)


def test_bars_are_means_over_draws() -> None:
    counts = {
        ("square", "random"): (flips(4, 1), flips(8, 1)),
        ("square", "hedge"): (flips(20, 2), flips(30, 2)),
    }
    plot = flip_bars(counts, ["square"])
    heights = {(one.yaxis, one.name): one.y[0] for one in plot.data}
    assert heights["y", "FtoT"] == 6 and heights["y2", "FtoT"] == 25
    assert heights["y2", "FtoT - TtoF"] == 23 and heights["y2", "FtoF"] == 3
    near, every = effect_claims.more_corrected(counts, ["square"])
    assert near.found and every.found and "RayS" not in near.seen
    worse = {("square", "hedge"): (flips(2, 20),)}
    assert [one.found for one in effect_claims.more_corrected(worse, ["square"])] == [False, False]
    assert [one.found for one in effect_claims.more_corrected({}, [])] == [None, None]


def test_slopes_are_claimed_by_the_share_of_examples() -> None:
    gaps = [
        {"estimator": name, "false_to_true": [1.0] * 20 + [-1.0], "true_to_false": [-1.0] * 9}
        for name in ("gradient", "ratio")
    ]
    assert [one.found for one in effect_claims.steeper_false_class(gaps)] == [True, True]
    gaps[1]["false_to_true"] = [-1.0] * 20  # estimates that contradict each other decide nothing
    gaps[0]["true_to_false"] = gaps[1]["true_to_false"] = []
    assert [one.found for one in effect_claims.steeper_false_class(gaps)] == [None, None]


def test_the_second_attack_is_drawn_and_stands_beside_what_is_printed() -> None:
    found = {"n": 10_000, "lengths": [0, 1, 2], "counts": [FIRST, FIRST, PRINTED]}
    figure, table = built(p2_figures.F9, attacked_twice=found)
    again, returned, survivors = figure.plot.data
    assert list(again.y) == [2700 / 2908, 2700 / 2908, 2889 / 2908]
    assert returned.y[-1] == 1928 / 2908 and survivors.y[-1] == 2551 / 5584
    assert [one.found for one in figure.directions] == [True, True, True]
    assert isinstance(table, Table)
    means = [round(cell.published.mean, 2) for cell in table.rows[0].cells]
    assert means == [84.92, 34.24, 99.35, 66.30, 45.68]
    assert {cell.verdict for cell in table.rows[0].cells} == {"not comparable"}


def test_shares_are_judged_by_three_percent_of_their_counts() -> None:
    full = Setup(scale="full")
    same = second_attack_table(PRINTED, 10_000, full)
    assert [cell.verdict for cell in same.rows[0].cells] == ["within"] * 5
    other = second_attack_table(PRINTED | {"returned": 1800}, 10_000, full)
    assert [cell.verdict for cell in other.rows[0].cells].count("outside") == 1


def test_pictures_are_red_where_the_label_is_wrong() -> None:
    def example(kind: str) -> dict[str, Any]:
        right = {"FtoT": (True, False, True, True), "TtoF": (True, True, False, True)}[kind]
        roles = ("natural", "adversarial", "hedged adversarial", "hedged natural")
        pictures = [
            {
                "role": role,
                "png": "iVBO",
                "label": "cat" if ok else "dog",
                "right": ok,
                "ssim": 0.95,
            }
            for role, ok in zip(roles, right, strict=True)
        ]
        return {"id": 7, "truth": "cat", "pictures": pictures}

    found = {
        "n": 100,
        "hedge": "eps_d 8/255",
        "similarities": [{"pair": "adversarial - natural", "n": 100, "mean": 0.95, "above": 90}],
        "examples": {"FtoT": [example("FtoT")], "TtoF": []},
    }
    (corrected,) = built(p2_figures.F5, effects=found)
    (broken,) = built(p2_figures.F6, effects=found)
    assert isinstance(corrected, Gallery) and corrected.directions[0].found
    (strip,) = corrected.strips
    assert [one.colour for one in strip.pictures] == ["", "red", "", ""]
    assert strip.pictures[1].caption == "dog (0.950)"
    assert broken.strips == () and "no image of 100" in broken.notes[-1]
