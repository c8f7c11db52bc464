import csv
import io
import re
from math import nan

import pytest

from fftune.papers.artifacts import (
    Built,
    Cell,
    Direction,
    Figure,
    Measure,
    Published,
    Row,
    Table,
)
from fftune.papers.declarations import Setup
from fftune.papers.pages.render import CSV_COLUMNS, render, render_item
from fftune.papers.tables.verdicts import OTHER_SCALE


def beside(mean: float, printed: float, verdict="within", reason: str = "", **more) -> Cell:
    ours = Measure(mean=mean, sd=0.3, low=mean - 1, high=mean + 1, seeds=5, n=10_000)
    return Cell(
        ours=ours, published=Published(mean=printed, **more), verdict=verdict, reason=reason
    )


TABLE = Table(
    name="P1.T16",
    title="Nets & bounds",
    columns=(("", "D"), ("A", "PGD"), ("A", "cert_1")),
    corner="data",
    rows=(
        Row(
            label="Poisoning",
            cells=(
                beside(81.2, 81.19, sd=0.1),
                beside(60.0, 55.62, "outside"),
                beside(47.2, 47.25, remark="the paper's D and F give 47.21"),
            ),
        ),
        Row(
            label="Quality",
            cells=(
                Cell(ours=Measure(mean=56.666, n=10_000)),
                Cell(reason="out of memory", published=Published(mean=37.24)),
                beside(33.0, 32.79, "not comparable", "other iterate"),
            ),
        ),
    ),
    notes=("In fp32.",),
    directions=(Direction(claim="A < D", found=False, seen="60.0 and 81.2"),),
)


def lines_of(text: str) -> list[str]:
    """With single spaces, so that columns may be of any width."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_text_has_the_papers_layout_then_the_published_numbers() -> None:
    assert (
        render([TABLE])
        == """\
P1.T16: Nets & bounds (%)

                       ----------- A ------------
data                D         PGD          cert_1
-------------------------------------------------
Poisoning  81.20±0.30  60.00±0.30      47.20±0.30
Quality         56.67       - (b)  33.00±0.30 (c)

Beside the published numbers

                                ours   95 % interval   published  difference         verdict
--------------------------------------------------------------------------------------------
Poisoning, D              81.20±0.30  [80.20, 82.20]  81.19±0.10       +0.01          within
Poisoning, A, PGD         60.00±0.30  [59.00, 61.00]       55.62       +4.38         outside
Poisoning, A, cert_1      47.20±0.30  [46.20, 48.20]   47.25 (a)       -0.05          within
Quality, A, PGD                - (b)                       37.24
Quality, A, cert_1    33.00±0.30 (c)  [32.00, 34.00]       32.79       +0.21  not comparable

n = 10,000; ± is the deviation over 5 seeds or draws; intervals are of 95 %
(a) the paper's D and F give 47.21
(b) out of memory
(c) other iterate
In fp32.
not found: A < D (60.0 and 81.2)
"""
    )


def test_markdown() -> None:
    said = render([TABLE], "markdown").splitlines()
    assert said[:6] == [
        "**P1.T16: Nets & bounds (%)**",
        "",
        "| data | D | A PGD | A cert\\_1 |",
        "| :-- | --: | --: | --: |",
        "| Poisoning | 81.20±0.30 | 60.00±0.30 | 47.20±0.30 |",
        "| Quality | 56.67 | -<sup>b</sup> | 33.00±0.30<sup>c</sup> |",
    ]
    assert "| Poisoning, A, PGD | 60.00±0.30 | [59.00, 61.00] | 55.62 | +4.38 | outside |" in said
    assert said[-1] == "- not found: A \\< D (60.0 and 81.2)"


def test_latex() -> None:
    said = render([TABLE], "latex")
    assert said.splitlines()[:13] == [
        "% needs the package booktabs",
        r"\begin{table}[ht]",
        r"\centering",
        r"\caption{P1.T16: Nets \& bounds (\%)}",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r" &  & \multicolumn{2}{c}{A} \\",
        r"\cmidrule(lr){3-4}",
        r"data & D & PGD & cert\_1 \\",
        r"\midrule",
        r"Poisoning & 81.20$\pm$0.30 & 60.00$\pm$0.30 & 47.20$\pm$0.30 \\",
        r"Quality & 56.67 & -$^{b}$ & 33.00$\pm$0.30$^{c}$ \\",
        r"\bottomrule",
    ]


HOSTILE = r"""50% & $x_{1}$ #~^ \input{<a>} "["  """


def test_latex_is_balanced_whatever_names_say() -> None:
    table = Table(
        name="T",
        title=HOSTILE,
        corner=HOSTILE,
        columns=((HOSTILE, HOSTILE), (HOSTILE, "b"), ("", HOSTILE)),
        rows=(
            Row(label="[1]", block=HOSTILE, cells=(Cell(reason=HOSTILE),) * 3),
            Row(label="x", block="second", cells=(Cell(ours=Measure(mean=1)),) * 3),
        ),
    )
    said = render([table], "latex")
    plain = re.sub(r"\\[&%$#_{}\\]", "", said)
    depth = 0
    for character in plain:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert plain.count("$") % 2 == 0
    assert re.findall(r"\\begin\{(\w+)\}", said) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", said) == ["tabular", "table"]
    assert r"\input" not in said
    body = said.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    for line in rows[1:]:
        assert len(re.findall(r"(?<!\\)&", line)) == 4, line  # five columns
    assert not any(line.lstrip().startswith("[") for line in body.splitlines())


def test_csv_reads_back_to_the_same_numbers() -> None:
    table = Table(
        name='T "1", x',
        title="t",
        columns=(("g", "a,b"), ("g", "c\nd")),
        rows=(
            Row(label='"', block="b", cells=(beside(1 / 3, 0.3333), Cell(reason="why, indeed"))),
        ),
    )
    first, second = csv.DictReader(io.StringIO(render([table], "csv"), newline=""))
    assert tuple(first) == CSV_COLUMNS
    assert (first["table"], first["row"], first["block"]) == ('T "1", x', '"', "b")
    assert (first["group"], first["column"], second["column"]) == ("g", "a,b", "c\nd")
    numbers = {name: float(first[name]) for name in CSV_COLUMNS[5:12]}
    assert numbers == {
        "ours_mean": 1 / 3,
        "ours_sd": 0.3,
        "ours_low": 1 / 3 - 1,
        "ours_high": 1 / 3 + 1,
        "ours_seeds": 5,
        "ours_n": 10_000,
        "published_mean": 0.3333,
    }
    assert float(first["difference"]) == 1 / 3 - 0.3333
    assert (first["published_sd"], first["verdict"]) == ("", "within")
    assert (second["ours_mean"], second["reason"]) == ("", "why, indeed")


def test_published_numbers_of_another_scale_are_told_once() -> None:
    cell = beside(50, 81.19, "not comparable", OTHER_SCALE)
    table = Table(name="T", title="t", columns=(("", "D"),), rows=(Row(label="a", cells=(cell,)),))
    said = render([table])
    assert lines_of(said)[-7:-1] == [
        *("Published, at the paper's scale: not comparable with ours", "", "D"),
        *("--------", "a 81.19", ""),
    ]
    assert "[49.00, 51.00]" in said and OTHER_SCALE not in said and "+" not in said


@pytest.mark.parametrize(
    ("n", "unit", "value", "expected"),
    [
        (400, "%", 81.2499, "81.2"),
        (1000, "%", 81.2499, "81.25"),
        (0, "%", 81.2499, "81.25"),
        (0, "", 0.124961, "0.125"),
        (0, "", 8492.4, "8,492"),
        (400, "%", nan, "undefined"),
    ],
)
def test_digits_are_those_that_say_something(n, unit, value, expected) -> None:
    cell = Cell(ours=Measure(mean=value, n=n))
    row = Row(label="a", cells=(cell,))
    table = Table(name="T", title="t", columns=(("", "D"),), rows=(row,), unit=unit)
    assert f"a {expected}" in lines_of(render([table]))


def test_a_difference_that_is_no_difference_has_no_sign() -> None:
    table = Table(
        name="T",
        title="t",
        columns=(("", "D"),),
        rows=(Row(label="a", cells=(beside(81.1899, 81.19),)),),
    )
    assert "a, D 81.19±0.30 [80.19, 82.19] 81.19 0.00 within" in lines_of(render([table]))


def test_blocks_stand_apart() -> None:
    cell = Cell(ours=Measure(mean=1))
    rows = [Row(label=d, block=net, cells=(cell,)) for net in "AB" for d in ("-", "Hedge")]
    table = Table(name="T", title="t", columns=(("", "PGD"),), rows=tuple(rows), corner="Method")
    assert lines_of(render([table]))[2:9] == [
        *("Method PGD", "---------------", "A - 1.00", "Hedge 1.00", "", "B - 1.00", "Hedge 1.00"),
    ]


def test_only_the_full_scale_reproduces() -> None:
    figure = Figure(name="P1.F2", title="Bars", plot=None, notes=("a note",))
    built = Built(key="P1.F2", title="Case study", artifacts=(figure,))
    small = render_item(built, Setup(scale="small"))
    assert "Scale small: nothing here reproduces a published number" in small
    assert render_item(built, Setup(scale="full")) == ("P1.F2: Case study\n\nP1.F2: Bars\na note\n")
    failed = Built(key="P1.F2", title="Case study", error="no net")
    assert "it could not be built: no net" in render_item(failed, Setup(scale="full"))
