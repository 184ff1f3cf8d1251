"""The API's own documentation as one plain HTML page: no script, nothing loaded from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import msgspec

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  overflow-wrap: anywhere; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
pre { background: #f4f4f2; padding: .75rem; overflow-x: auto; }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; font-size: 1.1rem; }
"""

_WHO: Final = (
    "Customers send <code>Authorization: Bearer</code> with the token of their session or an API key; services send"
    " <code>X-Tallystick-Services-Token</code>, and say with <code>user_id</code> for whom they ask."
)


def reference_page(openapi: Mapping[str, Any]) -> str:
    """A page for the OpenAPI document of this application."""
    info = openapi["info"]
    sections = "\n".join(
        _section(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(info["title"])} API</title>
<style>{_STYLE}</style></head>
<body><h1>{escape(info["title"])} API</h1><p>{escape(info.get("summary", ""))}</p>
<p>{_WHO}</p>
<p>The same for machines: <a href="/api/openapi.json">/api/openapi.json</a></p>
{sections}
</body></html>"""


def _section(path: str, method: str, operation: Mapping[str, Any]) -> str:
    title = f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    text = f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>"
    takes = ", ".join(
        f"<code>{escape(one['name'])}</code>" for one in operation.get("parameters", ()) if one["in"] == "query"
    )
    return title + text + (f"<p>Query: {takes}</p>" if takes else "") + "".join(_examples(operation))


def _examples(operation: Mapping[str, Any]) -> Iterator[str]:
    places = [("Request", operation.get("requestBody", {}))]
    places += [(f"Response {status}", response) for status, response in operation.get("responses", {}).items()]
    for title, place in places:
        content = place.get("content", {}).get("application/json", {})
        example = content.get("example", content.get("schema", {}).get("example"))
        if example is not None:
            shown = msgspec.json.format(msgspec.json.encode(example), indent=2).decode()
            yield f"<p>{escape(title)}</p><pre>{escape(shown)}</pre>"
