"""A report as two files of the same content: ``report.html`` and ``report.json``."""

from pathlib import Path

from neftune_core.report.document import Report, encoded
from neftune_core.report.page import page

HTML, JSON = "report.html", "report.json"


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write both; what stands there under their names is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    html, data = folder / HTML, folder / JSON
    html.write_text(page(report), encoding="utf-8")
    data.write_bytes(encoded(report))
    return html, data
