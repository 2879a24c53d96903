"""``/docs``: the routes on one plain page, made here. Loads no script and nothing from another host."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from api.openapi import describe

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title></head><body>
<h1>{title}</h1>
<p>Machine-readable: <a href="/openapi.json">openapi.json</a></p>
{routes}
</body></html>
"""


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Show every route with what it takes."""
    document = describe(request.app)
    parts = [
        _route(method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
    return HTMLResponse(_PAGE.format(title=escape(document["info"]["title"]), routes="\n".join(parts)))


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    taken = "".join(
        f"<li><code>{escape(one['name'])}</code> ({one['in']}) {escape(one.get('description', ''))}</li>"
        for one in operation.get("parameters", ())
    )
    summary, description = operation.get("summary", ""), operation.get("description", "")
    told = f"{summary} {description}" if summary.endswith("?") else f"{summary}. {description}"
    return f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(told)}</p><ul>{taken}</ul>"
