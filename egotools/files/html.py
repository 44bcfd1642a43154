"""Web pages that need no other file and no network, in which text from anywhere is text and never code.

A page's content security policy lets it load nothing: pictures are data in the page, and so are scripts.
"""

import base64
import html
import math
from collections.abc import Iterable, Sequence

from egotools.texts import without_steering

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {}; base-uri 'none';"
    " form-action 'none'"
)
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 1200px; margin: 1.5em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; } h3 { font-size: 1em; }
table { border-collapse: collapse; margin: 0.6em 0; font-size: 0.92em; }
th, td { text-align: left; vertical-align: top; padding: 0.2em 0.8em; border-bottom: 1px solid #e4e4e4; }
th { color: #555; font-weight: 600; } td { max-width: 40em; overflow-wrap: break-word; unicode-bidi: isolate; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } .facts td.number { text-align: left; }
img { max-width: 100%; }
figure { margin: 1em 0; } figcaption, .small { color: #555; font-size: 0.88em; } .bad { color: #b00020; }
"""
DIGITS = 5  # of a number with a fraction


def escaped(value: object, *, quote: bool = True) -> str:
    """Text in one line as HTML shows it, in attributes only with `quote`; what would steer is shown as codes."""
    return html.escape(without_steering(str(value)), quote=quote)


def element(tag: str, content: object, style: str = "") -> str:
    """An element with this text, which is escaped; `style` is a class of the style sheet."""
    kind = f' class="{style}"' if style else ""
    return f"<{tag}{kind}>{escaped(content)}</{tag}>"


def table(rows: Iterable[Sequence[object]], columns: Sequence[str] = ()) -> str:
    """A table, with a line of names, under which numbers are aligned to the right, or without; None is a dash."""
    kind = "" if columns else ' class="facts"'
    head = [f"<tr>{''.join(element('th', name) for name in columns)}</tr>"] if columns else []
    lines = [f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows]
    return f"<table{kind}>{''.join([*head, *lines])}</table>\n"


def remarks(texts: Sequence[str]) -> str:
    """Remarks as a list, if there are any."""
    return f"<ul>{''.join(element('li', text) for text in texts)}</ul>\n" if texts else ""


def heading(title: object, number: int) -> str:
    """The heading of a section, to which `links` leads."""
    return f'<h2 id="section-{number}">{escaped(title)}</h2>'


def links(titles: Sequence[object]) -> str:
    """A list that leads to sections, by their numbers from 0."""
    lines = (f'<li><a href="#section-{number}">{escaped(title)}</a></li>' for number, title in enumerate(titles))
    return f"<ul>{''.join(lines)}</ul>\n"


def picture(content: bytes, caption: str, kind: str = "image/png") -> str:
    """A figure whose picture is in the page."""
    image = f'<img src="{data_uri(content, kind)}" alt="{escaped(caption)}">'
    return f"<figure>{image}{element('figcaption', caption)}</figure>\n"


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def data_script(name: str, json: str) -> str:
    """JSON that scripts of the page find by this id; it cannot end its element, whatever its texts are."""
    safe = json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return f'<script type="application/json" id="{escaped(name)}">{safe}</script>\n'


def page(title: str, body: str, *, scripts: Sequence[str] = ()) -> bytes:
    """A page of HTML.

    Args:
        title: text.
        body: HTML.
        scripts: code of ours and of libraries, which runs after the body was read; without any, none can run.
    """
    policy = POLICY.format("'unsafe-inline'" if scripts else "'none'")
    code = "".join(f"<script>{script}</script>\n" for script in scripts)
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width">\n{element("title", title)}\n<style>{STYLE}</style>\n'
        f"</head>\n<body>\n{element('h1', title)}\n{body}\n{code}</body>\n</html>\n"
    )
    return text.encode()


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return element("td", "-" if value is None else value)
    is_large = isinstance(value, float) and math.isfinite(value) and abs(value) >= 10**DIGITS
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if is_large else f"{value:.{DIGITS}g}"
    return element("td", shown, "number")
