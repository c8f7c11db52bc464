"""A page as one file of HTML, for every page that fftune writes."""

from html import escape

_FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def html_document(title: str, style: str, body: str) -> str:
    """Frame a page.

    Args:
        title: plain text.
        style: rules of CSS.
        body: HTML.
    """
    return _FRAME.format(title=escape(title), style=style, body=body.removesuffix("\n"))
