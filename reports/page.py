"""A document as one self-contained HTML page: no script, no address, the pictures inside."""

from __future__ import annotations

import base64
from html import escape

from reports.document import Block, Bullets, Command, Document, Figure, Heading, Paragraph, Table

_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 66rem; margin: 2rem auto; }
body { padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin: 1rem 0; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th.words, td.words { text-align: left; white-space: normal; min-width: 6.5rem; }
th { border-bottom: 2px solid #888; vertical-align: bottom; }
pre { background: #f4f4f4; padding: 0.8rem; overflow-x: auto; }
figure { margin: 1.5rem 0; } img { max-width: 100%; }
figcaption { color: #555; font-size: 0.9rem; max-width: 48rem; }
@media print { body { margin: 0; max-width: none; } figure, table { break-inside: avoid; } }
"""


def to_page(document: Document) -> str:
    """The whole document."""
    body = "\n".join(_block(block) for block in document.blocks)
    title = escape(document.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{escape(block.text)}</p>"
        case Bullets():
            return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
        case Command():
            return f"<pre>{escape(chr(10).join(block.lines))}</pre>"
        case Table():
            return _table(block)
        case Figure():
            # as an image a picture cannot run anything, and the ids of two cannot meet
            data = base64.b64encode(block.picture.svg).decode()
            return (
                f'<figure><img alt="{escape(block.picture.alt)}" src="data:image/svg+xml;base64,{data}">'
                f"<figcaption>{escape(block.picture.caption)}</figcaption></figure>"
            )


def _table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        words = [' class="words"' if place < table.text_columns else "" for place in range(len(cells))]
        return "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, words, strict=True)
        )

    body = "\n".join(f"<tr>{row(cells, 'td')}</tr>" for cells in table.rows)
    head = f"<thead><tr>{row(table.columns, 'th')}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>\n{body}\n</tbody></table></div>'
