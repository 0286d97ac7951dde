"""What a backtest did, for people: a table for the terminal, files for other programs, one self-contained HTML page."""

from fxcarry.report.card import card_text, worst_days
from fxcarry.report.files import FILES, check_folder, write_files, write_html, write_page
from fxcarry.report.text import PERIODS, VARIANTS, comparison_table, footer, render, summary

__all__ = [
    "FILES",
    "PERIODS",
    "VARIANTS",
    "card_text",
    "check_folder",
    "comparison_table",
    "footer",
    "render",
    "summary",
    "worst_days",
    "write_files",
    "write_html",
    "write_page",
]
