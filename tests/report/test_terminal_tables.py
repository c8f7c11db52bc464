"""Pages by hand: at 80 and 140 columns, in a pipe and on a terminal, in ASCII and Markdown."""

import io
import os
import pty
import termios

import pytest

from fftune.report.terminal import Grid, Worst, grid, markdown, plain, show

SMALL = grid(
    [
        ["net", "clean", "under attack"],
        ["a", "91.5 % (86.8 to 94.6)", Worst("39.5 % (33.0 to 46.4)")],
        ["b", "9.5 % (6.8 to 14.6)", "49.5 % (42.6 to 56.4)"],
    ],
    "Accuracy",
    "the worst net of a column",
)
PIPED = """\
Accuracy
net                  clean            under attack
--------------------------------------------------
a    91.5 % (86.8 to 94.6)  39.5 % (33.0 to 46.4)*
b      9.5 % (6.8 to 14.6)   49.5 % (42.6 to 56.4)
* the worst net of a column"""
RATE = "39.5 % (33.0 to 46.4)"
NETS = grid([["net", *(f"pgd-{i}" for i in range(1, 6))], *[[n, *[RATE] * 5] for n in "abcdef"]])


def test_a_pipe_gets_plain_text() -> None:
    assert plain([SMALL]) == PIPED
    stream = io.StringIO()
    show(["first", SMALL], stream)
    assert stream.getvalue() == f"first\n{PIPED}\n"


def test_a_grid_that_is_too_wide_comes_in_parts_of_about_equal_width() -> None:
    assert NETS.parts(140) == [NETS]
    parts = NETS.parts(80)
    assert [part.rows[0] for part in parts] == [
        ("net", "pgd-1", "pgd-2"),
        ("net", "pgd-3", "pgd-4", "pgd-5"),
    ]
    lines = plain([NETS], 80).splitlines()
    assert max(map(len, lines)) <= 80 and lines.count("") == 1
    assert len(plain([NETS], 140).splitlines()) == 8


def test_a_row_of_many_columns_is_turned() -> None:
    one = grid([["net", *(f"pgd-{i}" for i in range(9))], ["a", *[RATE] * 9]])
    assert plain([one], 80).splitlines() == [
        "net                        a",
        "----------------------------",
        *(f"pgd-{i}  {RATE}" for i in range(9)),
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 250])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    text = grid([["", "check", "evidence"], ["pass", "logits " * 6, "words " * 60]], wraps=True)
    line = "  known    the attacker who " + "knows it all " * 20
    wide = grid([["a very long name of a row", *["x" * 19] * 30], ["b", *["y" * 17] * 30]])
    said = plain([text, line, NETS, wide, SMALL], width)
    assert max(map(len, said.splitlines())) <= width
    assert said.count("words") == 60 and said.count("y" * 17) == 30 and said.count(RATE) == 31


def test_a_line_goes_on_below_its_text_and_an_address_is_never_cut() -> None:
    line = "images    digits, test: " + "many words " * 10
    assert plain([line], 60).splitlines()[1].startswith(" " * 10 + "many words")
    assert "94.1 %" in plain(["a " * 38 + "94.1 % (73.0 to 99.0)"], 80)
    address = "after: mlflow ui --backend-store-uri sqlite:///" + "a/" * 60
    assert plain([address], 60) == address


def test_heads_are_wrapped_between_words() -> None:
    one = grid([["net", "fooled of those right when clean"], ["a", "1"]])
    assert plain([one], 12).splitlines()[-1].split() == ["a", "1"]
    assert Grid(rows=one.rows).widths == [3, 6]


def test_markdown() -> None:
    assert markdown(["net  a_b", "", SMALL]).splitlines() == [
        r"- net a\_b",
        "",
        "**Accuracy**",
        "",
        "| net | clean | under attack |",
        "| :-- | --: | --: |",
        f"| a | 91.5 % (86.8 to 94.6) | **{RATE}** |",
        "| b | 9.5 % (6.8 to 14.6) | 49.5 % (42.6 to 56.4) |",
        "",
        "Bold: the worst net of a column",
    ]


BOLD = "\x1b[1m"


@pytest.mark.parametrize(
    ("environment", "encoding", "rule", "cell"),
    [
        ({"TERM": "xterm-256color"}, "utf-8", "─" * 11, f"{BOLD}39.5 %\x1b[0m"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "utf-8", "─" * 11, f"{BOLD}39.5 %\x1b[0m"),
        ({"TERM": "xterm"}, "ascii", "-" * 11, f"{BOLD}39.5 %\x1b[0m"),
        ({"TERM": "dumb"}, "utf-8", "-" * 12, "39.5 %*"),
    ],
    ids=["unicode", "no colour", "ascii", "dumb"],
)
def test_a_terminal_draws_rules_and_bold(monkeypatch, environment, encoding, rule, cell) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    rows = [["net", "share"], ["a", Worst("39.5 %")], ["b", "49.5 %"]]
    with open(theirs, "w", encoding=encoding) as stream:
        show([grid(rows, worst="the worst")], stream)
        said = os.read(ours, 1 << 16).decode().replace("\r\n", "\n")
    os.close(ours)
    assert rule in [line.strip() for line in said.splitlines()] and cell in said
    assert ("\x1b" in said) == (environment["TERM"] != "dumb")
    assert "\x1b[3" not in said  # no colours, which some background would hide


def test_parts_repeat_every_column_that_names_a_row() -> None:
    rows = [
        ["trial", "lambda", "natural", "hidden"],
        *[[f"{i}", "6", RATE, RATE] for i in range(4)],
    ]
    parts = grid(rows, labels=2).parts(50)
    assert [part.rows[0] for part in parts] == [
        ("trial", "lambda", "natural"),
        ("trial", "lambda", "hidden"),
    ]
