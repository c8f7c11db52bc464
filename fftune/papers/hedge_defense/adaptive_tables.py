"""Attacks that mirror or know Hedge Defense: tables 6 and 8 of Wu et al. 2021."""

from fftune.evaluation.defended import CLEAN
from fftune.outcomes import Outcomes
from fftune.papers.artifacts import Cell, Measure, Published, Row, Table
from fftune.papers.declarations import Exam, Setup
from fftune.papers.hedge_defense.claims import is_robust
from fftune.papers.hedge_defense.nets import NATURAL, STANDARD, TRADES, Line, lines
from fftune.papers.hedge_defense.tables import found, nine
from fftune.papers.items import Item
from fftune.papers.results import Results
from fftune.papers.tables import verdicts
from fftune.papers.tables.attack_tables import over_draws
from fftune.papers.tables.measures import missing
from fftune.papers.tables.net_risks import answers_one_class
from fftune.papers.tables.paired_gains import ByImage, Column, by_image, exceeds, gain
from fftune.papers.tables.published import published
from fftune.risk import Rate

FREE, AWARE, PGD = "label-free", "aware-hedge", "pgd-20"
COLUMNS_6 = {CLEAN: "Natural accuracy", FREE: "Robust accuracy"}
COLUMNS_8 = {"none": "Direct prediction", "hedge": "Prediction of Hedge Defense"}
ROWS_8 = {PGD: "Attack the model", AWARE: "Attack Hedge Defense"}
PRINTED_8 = {PGD: "attack the model", AWARE: "attack hedge"}
"""Rows of the published table, which is about one net."""
RST = "Carmon2019Unlabeled"


def accuracy(outcomes: Outcomes, column: Column) -> Measure:
    """Accuracy behind a defense and under an attack, over the draws of the defense, in percent."""
    defense, attack = column
    frame = outcomes.where(attack=attack, defense=defense).to_pandas()
    frame = frame[frame["goal"] != "hypocritical"]
    right = frame["pred_pert"] == frame["y"]
    return over_draws(
        [Rate(int(draw.sum()), len(draw)) for _, draw in right.groupby(frame["defense_repeat"])]
    )


def _label_free(line: Line) -> Exam:
    """PGD, and the attack that joins wherever there is a defense: noise asks nothing of the net."""
    return nine(line, defenses=("random",), attacks=(PGD, FREE))


def _aware(line: Line) -> Exam:
    return nine(line, defenses=("hedge",), attacks=(PGD, AWARE))


def _cell(
    outcomes: Outcomes | None, reason: str, column: Column, printed: Published | None, setup: Setup
) -> Cell:
    if outcomes is None:
        return missing(reason, printed)
    return verdicts.cell(accuracy(outcomes, column), printed, setup)


def _lines_6(setup: Setup) -> list[Line]:
    stand_ins = (NATURAL, Line(label="TRADES", net=TRADES.net))
    names = {"Zhang2019Theoretically": "TRADES"}
    several = lines("P2.T6", setup, stand_ins=stand_ins, names=names)
    return sorted(several, key=lambda line: line.label != STANDARD)


def _build_6(results: Results) -> list[Table]:
    rows: list[Row] = []
    nets: dict[bool, ByImage] = {}
    for line in _lines_6(results.setup):
        outcomes, reason = found(results, line, _label_free(line))
        cells = (
            _cell(outcomes, reason, ("none", name), line.printed("P2.T6", name), results.setup)
            for name in COLUMNS_6
        )
        rows.append(Row(label=line.label, cells=tuple(cells)))
        if outcomes is not None and not answers_one_class(outcomes):
            net = by_image(outcomes)
            nets.setdefault(is_robust(net), net)
    clean, free = [("none", CLEAN)], [("none", FREE)]
    natural = [net for robust, net in nets.items() if not robust]
    return [
        Table(
            name="P2.T6",
            title=T6.title,
            columns=tuple(("", name) for name in COLUMNS_6.values()),
            rows=tuple(rows),
            corner="Net",
            notes=("The attack is not told the labels that both accuracies are about.",),
            directions=(
                exceeds("It fools a naturally trained net", gain(natural, clean, free)),
                exceeds("It costs that more accuracy than a robust net", _beyond(nets)),
            ),
        )
    ]


def _beyond(nets: dict[bool, ByImage]) -> Measure | None:
    """Points that the label-free attack costs the natural net beyond the robust one."""
    if len(nets) < 2:
        return None
    cost = {
        ("cost", str(robust)): net["none", CLEAN] - net["none", FREE]
        for robust, net in nets.items()
    }
    return gain([cost], [("cost", "False")], [("cost", "True")])


def _lines_8(setup: Setup) -> list[Line]:
    stand_in = Line(label="TRADES for RST", name=RST, net=TRADES.net)
    return lines("P2.T8", setup, stand_ins=(stand_in,))


def _build_8(results: Results) -> list[Table]:
    rows: list[Row] = []
    nets: list[ByImage] = []
    for line in _lines_8(results.setup):
        outcomes, reason = found(results, line, _aware(line))
        for attack, label in ROWS_8.items():
            cells = []
            for defense in COLUMNS_8:
                printed = published("P2.T8", PRINTED_8[attack], defense)
                printed = printed if line.name == RST else None
                column = (defense, attack)
                cells.append(_cell(outcomes, reason, column, printed, results.setup))
            rows.append(Row(label=label, cells=tuple(cells), block=line.label))
        if outcomes is not None and not answers_one_class(outcomes):
            nets.append(by_image(outcomes))
    model, hedge = [("none", PGD)], [("hedge", PGD)]
    model_aware, hedge_aware = [("none", AWARE)], [("hedge", AWARE)]
    return [
        Table(
            name="P2.T8",
            title=T8.title,
            columns=tuple(("", name) for name in COLUMNS_8.values()),
            rows=tuple(rows),
            corner="Attack",
            directions=(
                exceeds(
                    "An attack on Hedge Defense is weaker on the model itself",
                    gain(nets, model_aware, model),
                ),
                exceeds("It is stronger on Hedge Defense", gain(nets, hedge, hedge_aware)),
                exceeds(
                    "Hedge Defense under its own attack is better than the model under its own",
                    gain(nets, hedge_aware, model),
                ),
            ),
        )
    ]


T6 = Item(
    key="P2.T6",
    title="The label-free attack on a naturally trained and a robust net",
    needs=lambda setup: [_label_free(line) for line in _lines_6(setup) if not line.reason],
    build=_build_6,
)
T8 = Item(
    key="P2.T8",
    title="The defense-aware attack on Hedge Defense",
    needs=lambda setup: [_aware(line) for line in _lines_8(setup) if not line.reason],
    build=_build_8,
)
