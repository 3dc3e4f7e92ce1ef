"""The page ``/docs``: every address of the server, from its OpenAPI description. It loads nothing from elsewhere.

In: an OpenAPI description. Out: HTML. Does not know: the application.
"""

from __future__ import annotations

from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ info.title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #1f2937 }
code, pre { font-family: ui-monospace, monospace; font-size: .9em }
pre { background: #f3f4f6; padding: .75rem; overflow-x: auto; border-radius: .4rem }
section { border-top: 1px solid #d1d5db; padding: .5rem 0 } h2 { font-size: 1.05rem; margin: .5rem 0 }
.method { color: #2563eb; text-transform: uppercase; font-weight: 700 }
td { padding-right: 1.5rem; vertical-align: top }
@media (prefers-color-scheme: dark) {
body { background: #111827; color: #e5e7eb } pre { background: #1f2937 } .method { color: #60a5fa } }
</style></head><body>
<h1>{{ info.title }} {{ info.version }}</h1><p>{{ info.description }}
Machine-readable: <a href="/openapi.json">openapi.json</a>.</p>
<pre>curl --data-binary @photo.jpg 'http://ADDRESS/v1/predict?top=3'
curl -F image=@a.jpg -F image=@b.jpg http://ADDRESS/v1/predict
housetrain predict http://ADDRESS photo.jpg</pre>
{% for path, methods in paths.items() %}{% for method, one in methods.items() %}<section>
<h2><span class="method">{{ method }}</span> <code>{{ path }}</code></h2>
<p>{{ one.summary }}.{% if one.description %} {{ one.description }}{% endif %}</p>
<table>{% for parameter in one.parameters or () %}
<tr><td><code>{{ parameter.name }}</code></td><td>{{ parameter.description or "in the path" }}</td></tr>{% endfor %}
{% if one.requestBody %}<tr><td>body</td><td>{{ one.requestBody.content | join(", ") }}</td></tr>{% endif %}
<tr><td>status</td><td>{{ one.responses | join(", ") }}</td></tr></table></section>{% endfor %}{% endfor %}
</body></html>
"""


def docs_page(openapi: dict[str, Any]) -> str:
    """Return the page."""
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_PAGE).render(openapi)
