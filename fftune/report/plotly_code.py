"""Plotly's code inside a page, compressed to less than half of its five megabytes."""

import base64
import gzip
from functools import cache

SCRIPT = """<script>
window.PlotlyConfig = {{MathJaxConfig: "local"}};
window.Plotly = {{waiting: [], newPlot(...figure) {{ this.waiting.push(figure); }}}};
(async () => {{
  const waiting = Plotly.waiting;
  const packed = Uint8Array.from(atob("{packed}"), (one) => one.charCodeAt(0));
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const code = document.createElement("script");
  code.textContent = await new Response(plain).text();
  document.head.append(code);
  for (const figure of waiting) Plotly["newPlot"](...figure);
}})();
</script>"""
"""Figures that come before the code is unpacked wait for it. Browsers know gzip since 2023."""


def plotly_source() -> str:
    """Plotly's code, for a file of its own."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def plotly_code() -> str:
    """Script element that gives a page Plotly; it comes before all figures."""
    packed = gzip.compress(plotly_source().encode(), mtime=0)
    return SCRIPT.format(packed=base64.b64encode(packed).decode())
