"""A page to hand in: a title, a few paragraphs, a table and a figure, as HTML and as PDF.

Both are made from the same content, so that they cannot say different things.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from reportlab.lib import colors, pagesizes, styles
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import Image, Paragraph, SimpleDocTemplate, Spacer, Table

_MARGIN = 20 * mm
_WIDTH = pagesizes.A4[0] - 2 * _MARGIN
_STYLE = """body { max-width: 46em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif }
table { border-collapse: collapse; font-size: 0.9em; font-variant-numeric: tabular-nums }
th, td { padding: 0.3em 0.8em; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
img { max-width: 100%; height: auto }
figure { margin: 1.5em 0 } figcaption { color: #555; font-size: 0.9em }"""


@dataclass(frozen=True)
class Report:
    """The content of the page.

    Attributes:
        title: of the page.
        paragraphs: plain text, above the table.
        table: its index is the first column; numbers are shown as they are: round them before.
        figure: below the table.
        alt: what the figure shows, in words; it is also printed as the figure's caption.

    Raises:
        ValueError: an empty title or alternative text.
    """

    title: str
    paragraphs: Sequence[str]
    table: pd.DataFrame
    figure: Figure
    alt: str

    def __post_init__(self):
        """Refuse empty texts."""
        for name in ("title", "alt"):
            if not getattr(self, name).strip():
                raise ValueError(f"a report needs a {name}: it is empty.")

    def html(self) -> str:
        """The page as one HTML file that needs no other: style and figure are inside."""
        picture = base64.b64encode(_png(self.figure)).decode()
        text = "\n".join(f"<p>{html.escape(p)}</p>" for p in self.paragraphs)
        head, *rows = _cells(self.table)
        body = "\n".join(_row("td", row) for row in rows)
        title, alt = html.escape(self.title), html.escape(self.alt)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n<body>\n"
            f"<h1>{title}</h1>\n{text}\n<table>\n<thead>\n{_row('th', head)}\n</thead>\n<tbody>\n"
            f'{body}\n</tbody>\n</table>\n<figure>\n<img alt="{alt}" '
            f'src="data:image/png;base64,{picture}">\n<figcaption>{alt}</figcaption>\n'
            "</figure>\n</body>\n</html>\n"
        )

    def pdf(self) -> bytes:
        """The page as a PDF, A4; the same content gives the same bytes."""
        text, head = _paragraph_styles()
        story = [Paragraph(html.escape(self.title), head), Spacer(0, 4 * mm)]
        for paragraph in self.paragraphs:
            story += [Paragraph(html.escape(paragraph), text), Spacer(0, 2 * mm)]
        width, height = self.figure.get_size_inches()
        picture = Image(io.BytesIO(_png(self.figure)), _WIDTH, _WIDTH * height / width)
        story += [_pdf_table(self.table, text), Spacer(0, 6 * mm), picture]
        story += [Spacer(0, 2 * mm), Paragraph(html.escape(self.alt), text)]
        content = io.BytesIO()
        SimpleDocTemplate(
            content,
            pagesize=pagesizes.A4,
            title=self.title,
            lang="en",
            invariant=1,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN,
        ).build(story)
        return content.getvalue()


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=200, metadata={"Software": None})
    return content.getvalue()


def _cells(table: pd.DataFrame) -> list[list[str]]:
    """Head and rows as text: missing values are empty, whole numbers have thousands set apart."""
    head = [str(table.index.name or ""), *map(str, table.columns)]
    rows = zip(table.index, *(table[column] for column in table.columns), strict=True)
    return [head, *([_text(value) for value in row] for row in rows)]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if pd.isna(value):
        return ""
    return f"{value:,}"


def _row(kind: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"


def _paragraph_styles() -> tuple[styles.ParagraphStyle, styles.ParagraphStyle]:
    """Text and heading, in the font of the figures: PDF's own fonts have no ≥ and no −."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for name, file in (("DejaVu", "DejaVuSans.ttf"), ("DejaVu-Bold", "DejaVuSans-Bold.ttf")):
        pdfmetrics.registerFont(TTFont(name, folder / file))
    text = styles.ParagraphStyle("text", fontName="DejaVu", fontSize=9, leading=13)
    return text, styles.ParagraphStyle("head", fontName="DejaVu-Bold", fontSize=15, leading=19)


def _pdf_table(table: pd.DataFrame, text: styles.ParagraphStyle) -> Table:
    """The table over the whole width, numbers to the right, long heads broken."""
    left = styles.ParagraphStyle("left", text, fontSize=8, leading=10)
    right = styles.ParagraphStyle("right", left, alignment=2)
    cells = [
        [Paragraph(html.escape(cell), right if i else left) for i, cell in enumerate(row)]
        for row in _cells(table)
    ]
    first = _WIDTH * max(0.25, 1 / len(cells[0]))
    others = (_WIDTH - first) / max(len(cells[0]) - 1, 1)
    lines = ("LINEBELOW", (0, 0), (-1, -1), 0.4, colors.lightgrey)
    return Table(cells, [first, *[others] * (len(cells[0]) - 1)], repeatRows=1, style=[lines])
