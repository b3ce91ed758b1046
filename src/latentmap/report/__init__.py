"""The report of a fitted model: one self-contained HTML file and its figures."""

from latentmap.report.html import write_report
from latentmap.report.rows import ReportRows

__all__ = ["ReportRows", "write_report"]
