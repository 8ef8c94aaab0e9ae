"""A web page that needs nothing but itself: no script, no address from which a browser would load anything.

Belongs here: the frame and the style of a page. Does not belong here: its content, elements (markup).
"""

from __future__ import annotations

from xdask_pipelines.system.markup import Markup
from xdask_pipelines.system.safe_text import html

#: Nothing is loaded and nothing runs, whatever a page holds.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c1e21; --faint: #5b6168; --line: #c9ced4; --panel: #f4f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --ink: #e4e6e9; --faint: #a0a7af; --line: #3d434a; --panel: #202327; }
}
html { background: var(--paper); color: var(--ink); }
body { max-width: 62rem; margin: 0 auto; padding: 1.5rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.4rem; padding-bottom: 0.2rem; border-bottom: 1px solid var(--line); }
p { margin: 0.4rem 0; }
.faint { color: var(--faint); }
.number { font-size: 3rem; font-weight: 650; margin: 1rem 0; }
.note { border-left: 4px solid #d0672f; padding: 0.3rem 0.8rem; background: var(--panel); }
figure { margin: 1rem 0; }
figure img { display: block; width: 100%; height: auto; background: #ffffff; border-radius: 6px; }
.wide { overflow-x: auto; }
th, table:not(:has(thead)) td:first-child { white-space: nowrap; }
.keys td { overflow-wrap: anywhere; min-width: 5rem; }
pre { background: var(--panel); padding: 0.8rem; border-radius: 6px; overflow-x: auto; font-size: 0.85rem; }
footer { margin-top: 2.5rem; color: var(--faint); font-size: 0.85rem; }
@media print {
  :root { color-scheme: light; --paper: #ffffff; --ink: #000000; --faint: #444444; --line: #999999; --panel: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; border: 1px solid #999999; }
  .wide { overflow: visible; }
  td, th { white-space: normal !important; overflow-wrap: anywhere; }
  h2 { break-after: avoid; }
  figure, tr, svg { break-inside: avoid; }
}
"""


def web_page(title: str, body: Markup, head: str = "") -> str:
    """Return a complete page, readable on dark and light themes and when printed.

    Parameters
    ----------
    title
        Title of the window.
    body
        Content.
    head
        Further elements of the head, such as ``meta``.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{html(title)}</title>{head}<style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    )
