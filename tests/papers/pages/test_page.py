import base64
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from fftune.errors import ConfigError
from fftune.papers.artifacts import (
    Built,
    Cell,
    Direction,
    Figure,
    Gallery,
    Measure,
    Picture,
    Published,
    Row,
    Strip,
)
from fftune.papers.declarations import Setup
from fftune.papers.pages import pictures
from fftune.papers.pages.page import standalone, write_index, write_item
from fftune.papers.pages.pictures import PictureFormat
from fftune.registry import PAPERS
from tests.papers.pages.test_render import TABLE

TINY, FULL = Setup(scale="tiny"), Setup(scale="full")
PNG = base64.b64encode(b"\x89PNG").decode()
FIGURE = Figure(name="P1.F2", title="Bars", plot=go.Figure(go.Bar(x=["a"], y=[1])))
GALLERY = Gallery(
    name="P1.T4",
    title="Friends",
    strips=(
        Strip(
            label="<b>bold</b>",
            pictures=(
                Picture(png=PNG, caption="<i>cat</i>", colour="red"),
                Picture(png=PNG, caption="dog", colour="green"),
            ),
        ),
    ),
    directions=(Direction(claim="friends conceal", found=True, seen="2 of 2"),),
)
T16 = Built(key="P1.T16", title="Certified <nets>", artifacts=(TABLE,))
F2 = Built(key="P1.F2", title="Case study", artifacts=(FIGURE, FIGURE))
T4 = Built(key="P1.T4", title="Gallery", artifacts=(GALLERY,))
FAILED = Built(key="P2.T1", title="Hedge", error="the net <x> failed")


def write(
    built: Sequence[Built], setup: Setup, folder: Path, pictures: Sequence[PictureFormat] = ()
) -> Path:
    for one in built:
        write_item(one, setup, folder, pictures)
    return write_index(folder)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, _tag, attrs) -> None:
        self.found |= {value for name, value in attrs if name in ("href", "src") and value}


def links(path: Path) -> set[str]:
    parser = Links()
    parser.feed(path.read_text())
    return {link for link in parser.found if not link.startswith("data:")}


def test_every_link_leads_to_a_file(tmp_path: Path) -> None:
    index = write([T16, F2, T4, FAILED], TINY, tmp_path)
    assert index == tmp_path / "index.html"
    pages = sorted(path.name for path in tmp_path.glob("*.html"))
    assert pages == ["P1.F2.html", "P1.T16.html", "P1.T4.html", "P2.T1.html", "index.html"]
    for page in tmp_path.glob("*.html"):
        assert links(page), page
        for link in links(page):
            assert (tmp_path / link).is_file(), (page, link)
    assert {"P1.T4.html", "P1.T16.html", "P1.T16.csv", "P1.T16.tex"} <= links(index)
    assert not (tmp_path / "P1.T4.csv").exists(), "a gallery has no numbers"
    assert (tmp_path / "P1.F2.txt").read_text().startswith("P1.F2: Case study\nScale tiny")


def test_an_index_keeps_what_was_built_before(tmp_path: Path) -> None:
    write([T16], FULL, tmp_path)
    assert "P1.T4" not in links(tmp_path / "P1.T16.html")
    index = write([T4, FAILED], FULL, tmp_path)
    assert {"P1.T16.html", "P1.T4.html", "P2.T1.html"} <= links(index)
    said = index.read_text()
    assert "2 within, 1 outside, 1 not comparable; 1 without a number" in said
    assert said.index("P1.T4.html") < said.index("P1.T16.html") < said.index("P2.T1.html")
    # Neighbours of an older page are those of now.
    assert {"P1.T4.html", "P2.T1.html"} <= links(tmp_path / "P1.T16.html")
    for key in PAPERS:
        assert f">{key}<" in said


def test_names_cannot_write_html(tmp_path: Path) -> None:
    index = write([T16, T4, FAILED], TINY, tmp_path)
    page = (tmp_path / "P1.T4.html").read_text()
    assert "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>" not in page and "<i>" not in page
    assert "Certified &lt;nets&gt;" in index.read_text() and "<nets>" not in index.read_text()
    assert "the net &lt;x&gt; failed" in (tmp_path / "P2.T1.html").read_text()
    cell = Cell(reason='" onmouseover="x')
    table = replace(TABLE, columns=(("<b>", "<b>"),), rows=(Row(label="<b>", cells=(cell,)),))
    page = standalone(replace(T16, artifacts=(table,)), TINY)
    assert "<b>" not in page and '" onmouseover="x' not in page


def test_other_scales_than_the_full_one_say_that_they_reproduce_nothing() -> None:
    said = "nothing here reproduces a published number"
    assert said in standalone(T4, TINY) and said not in standalone(T4, FULL)


@pytest.mark.parametrize("one", [T16, F2])
def test_closed_forms_are_what_they_are_at_every_scale(one: Built, tmp_path: Path) -> None:
    said = "nothing here reproduces a published number"
    assert said in standalone(one, TINY) and said not in standalone(replace(one, exact=True), TINY)
    index = write([replace(one, exact=True)], TINY, tmp_path)
    assert said not in index.read_text() and "<td>every</td>" in index.read_text()
    assert said in write([T4], TINY, tmp_path).read_text()


def test_cells_have_the_published_number_the_difference_and_the_verdict() -> None:
    page = standalone(T16, FULL)
    assert '60.00<span class="spread">±0.30</span><span class="interval">[59.00, 61.00]' in page
    assert '55.62 <span class="outside">+4.38 ✗</span>' in page
    assert '81.19±0.10 <span class="within">+0.01 ✓</span>' in page
    assert "47.25<sup>a</sup>" in page and "<sup>a</sup> the paper&#x27;s D and F give" in page
    assert '<td title="out of memory">-<sup>b</sup>' in page


def test_rows_of_a_block_share_its_label() -> None:
    cell = Cell(ours=Measure(mean=1), published=Published(mean=2))
    rows = tuple(Row(label=d, block="TRADES", cells=(cell,)) for d in ("-", "Random", "Hedge"))
    page = standalone(
        replace(T16, artifacts=(replace(TABLE, columns=TABLE.columns[:1], rows=rows),)), FULL
    )
    assert page.count("TRADES") == 1 and '<th rowspan="3">TRADES</th>' in page


def test_figures_share_one_plotly_beside_the_pages(tmp_path: Path) -> None:
    write([F2], TINY, tmp_path)
    page = (tmp_path / "P1.F2.html").read_text()
    assert page.count('src="plotly.min.js"') == 1 and len(page) < 100_000
    assert page.count('"showSendToCloud": false') == 2, "no button that uploads"
    assert not re.search(r'(src|href)="https?:', page)
    assert 'src="plotly.min.js"' not in standalone(F2, TINY)
    assert len(standalone(F2, TINY)) > 1_000_000


def test_wrong_labels_are_red_and_concealed_ones_green() -> None:
    page = standalone(T4, TINY)
    assert '<span class="red">✗ &lt;i&gt;cat&lt;/i&gt;</span>' in page
    assert '<span class="green">✓ dog</span>' in page
    assert f'src="data:image/png;base64,{PNG}"' in page
    assert '<span class="badge found">found</span>friends conceal' in page


def test_files_of_an_older_build_go(tmp_path: Path) -> None:
    write([T16], TINY, tmp_path)
    write([replace(T16, artifacts=(), error="gone")], TINY, tmp_path)
    assert sorted(path.suffix for path in tmp_path.glob("P1.T16*")) == [".html", ".json"]
    assert "not built: gone" in (tmp_path / "index.html").read_text()


def test_a_damaged_summary_is_said_and_left_out(tmp_path: Path, caplog) -> None:
    write([T16, T4], TINY, tmp_path)
    (tmp_path / "P1.T4.json").write_text("{")
    index = write([T16], TINY, tmp_path)
    assert "P1.T4.html" not in links(index)
    assert "P1.T4.json is damaged" in caplog.text


def test_an_item_of_a_users_file_has_a_plain_name(tmp_path: Path) -> None:
    write([replace(T16, key="../x/my.py:T")], TINY, tmp_path)
    assert {path.parent for path in tmp_path.rglob("*.csv")} == {tmp_path}
    (page,) = (path for path in tmp_path.glob("*.html") if path.name != "index.html")
    assert page.name in links(tmp_path / "index.html")


def test_pictures_without_kaleido_are_one_clear_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r'pip install "fftune\[pictures\]"') as refused:
        write([F2], TINY, tmp_path, pictures=("png",))
    assert "\n" not in str(refused.value)
    write([T16], TINY, tmp_path, pictures=("png",))  # it has no figure


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("kaleido") is None, reason="needs kaleido")
def test_pictures(tmp_path: Path) -> None:
    write([F2], TINY, tmp_path, pictures=("png", "pdf"))
    assert (tmp_path / "P1.F2.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "P1.F2.pdf").read_bytes().startswith(b"%PDF")


def test_a_kaleido_without_a_browser_is_one_clear_line(tmp_path: Path, monkeypatch) -> None:
    def write_image(*_args, **_settings) -> None:
        raise RuntimeError("\nKaleido requires Google Chrome to be installed.\n\nEither ...")

    monkeypatch.setattr(pictures, "find_spec", lambda _name: object())
    monkeypatch.setattr(go.Figure, "write_image", write_image)
    with pytest.raises(ConfigError, match=r"P1.F2: Kaleido requires Google Chrome"):
        write([F2], TINY, tmp_path, pictures=("pdf",))
    assert list(tmp_path.glob("P1.F2.pdf")) == [] and list(tmp_path.glob(".P1*")) == []
