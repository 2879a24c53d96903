"""What pages cost that do only the least: nothing at all, a plain uPlot with the same curves, a bare list.

Peers of the dashboard, served by this process to the same browser. None asks the service for anything: what
they show lies in their own files.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

UPLOT = Path(__file__).parents[1] / "api" / "dashboard" / "node_modules" / "uplot" / "dist"
EMPTY = "<!doctype html><title>empty</title><h1>Workers</h1>"
# Pans as the dashboard does: by a mouse that moves, once a frame.
_PLOT = """<!doctype html><title>plain</title><link rel="stylesheet" href="uPlot.min.css"><div id="box"></div>
<script src="uPlot.iife.min.js"></script><script>
(async () => {
    const curves = await (await fetch(location.hash.slice(1))).json();
    const data = uPlot.join(curves);
    const colours = ['#c33', '#36c', '#393', '#a3a', '#c80', '#088'];
    const plot = new uPlot({
        width: 1000, height: 320, legend: {show: false}, scales: {x: {time: false}},
        series: [{}, ...colours.slice(0, curves.length).map((stroke) => ({stroke, width: 1.75}))],
        cursor: {drag: {x: false, y: false}},
    }, data, document.getElementById('box'));
    const [first, last] = [data[0][0], data[0].at(-1)];
    plot.setScale('x', {min: first + (last - first) * 0.4, max: first + (last - first) * 0.6});
    plot.over.addEventListener('mousedown', (down) => {
        const {min, max} = plot.scales.x, each = (max - min) / plot.over.clientWidth;
        let frame = 0;
        const move = (event) => {
            const by = (down.clientX - event.clientX) * each;
            cancelAnimationFrame(frame);
            frame = requestAnimationFrame(() => plot.setScale('x', {min: min + by, max: max + by}));
        };
        addEventListener('mousemove', move);
        addEventListener('mouseup', () => removeEventListener('mousemove', move), {once: true});
    });
    requestAnimationFrame(() => { window.drawn_ = performance.now(); });
})();
</script>"""

Curve = list[list[float]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: each request would be a line."""


@contextmanager
def peers(folder: Path) -> Iterator[str]:
    """Serve the pages of a folder, which may be written to meanwhile; gives the address."""
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        (folder / name).write_bytes((UPLOT / name).read_bytes())
    (folder / "empty.html").write_text(EMPTY)
    (folder / "plot.html").write_text(_PLOT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def write_curves(folder: Path, name: str, runs: Mapping[str, Curve]) -> None:
    """Leave curves where the plain plot finds them: of each run its steps and its values."""
    told = [[[pair[0] for pair in pairs], [pair[1] for pair in pairs]] for pairs in runs.values()]
    (folder / name).write_text(json.dumps(told))


def write_list(folder: Path, styles: str, rows: str) -> None:
    """Leave the very rows of the dashboard as markup, with its styles and without any script."""
    listed = f"<main style='max-width: 1000px'>{rows}</main>"
    (folder / "list.html").write_text(f"<!doctype html><style>{styles}</style>{listed}")
