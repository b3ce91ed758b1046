"""The report of a fitted model: one self-contained HTML file and its figures."""

from latentmap.report.html import write_report

__all__ = ["write_report"]
