"""A report as two files of the same content: ``report.html`` and ``report.json``."""

from pathlib import Path

from neftune_core.report.document import Report, encoded
from neftune_core.report.page import page

HTML, JSON = "report.html", "report.json"


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write both; what stands there under their names is replaced, and a link is not followed."""
    folder.mkdir(parents=True, exist_ok=True)
    html, data = folder / HTML, folder / JSON
    for path, content in ((html, page(report).encode()), (data, encoded(report))):
        path.unlink(missing_ok=True)
        with path.open("xb") as sink:
            sink.write(content)
    return html, data
