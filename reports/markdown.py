"""A document as GitHub's Markdown."""

from __future__ import annotations

import re

from reports.document import Block, Bullets, Command, Document, Figure, Heading, Paragraph, Table

# what begins or ends markup within a line; digits and dots are left: a list is only begun by a line
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~#$])")
_LINE_START = re.compile(r"^(\s*)([-+=]|\d+[.)])(?=\s|$)")
_LINK = re.compile(r"(https?|ftp)(?=://)|\b(www)(?=\.)", re.IGNORECASE)


def to_markdown(document: Document, figures: str = "figures") -> str:
    """The whole document.

    Args:
        document: what to write.
        figures: folder of the pictures as seen from the file.
    """
    blocks = [f"# {escape(document.title)}", *(_block(block, figures) for block in document.blocks)]
    return "\n\n".join(blocks) + "\n"


def table_markdown(table: Table) -> str:
    """A table alone."""
    rules = ["---" if place < table.text_columns else "---:" for place in range(len(table.columns))]
    lines = [table.columns, tuple(rules), *table.rows]
    return "\n".join(
        "| " + " | ".join(cell if row is lines[1] else escape(cell) for cell in row) + " |" for row in lines
    )


def escape(text: str) -> str:
    """Text that shows as it is: no markup, no HTML, no table cell's end, no line break."""
    text = " ".join(text.split())
    text = _MARKUP.sub(r"\\\1", text)
    text = text.replace("&", "&amp;").replace("@", "&#64;")  # GitHub would mention a person of that name
    text = _LINK.sub(lambda match: match[0][:1] + "\u2060" + match[0][1:], text)
    return _LINE_START.sub(r"\1\\\2", text)


def _block(block: Block, figures: str) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {escape(block.text)}"
        case Paragraph():
            return escape(block.text)
        case Bullets():
            return "\n".join(f"- {escape(item)}" for item in block.items)
        case Command():
            return "```bash\n" + "\n".join(line.replace("```", "") for line in block.lines) + "\n```"
        case Table():
            return table_markdown(block)
        case Figure():
            name = block.picture.name
            alt = escape(block.picture.alt)
            return f"![{alt}]({figures}/{name}.svg)\n\n*{escape(block.picture.caption)}*"
