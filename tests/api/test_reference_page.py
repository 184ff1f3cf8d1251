"""The API's page tells a reader what to send."""

import re

from tallystick.api.reference_page import reference_page

PARAMETERS = [{"name": "from", "in": "query"}, {"name": "meter", "in": "query"}, {"name": "x-token", "in": "header"}]
OPENAPI = {
    "info": {"title": "Tallystick"},
    "paths": {
        "/api/usage": {"get": {"description": "What was used.", "parameters": PARAMETERS}},
        "/api/tier/use": {"post": {"description": "Count.", "parameters": PARAMETERS[2:]}},
    },
}


def test_the_page_says_who_may_ask_and_what_a_request_takes():
    page = reference_page(OPENAPI)
    assert "<code>Authorization: Bearer</code>" in page
    assert "<code>X-Tallystick-Services-Token</code>" in page
    assert re.findall(r"<p>Query: (.*?)</p>", page) == ["<code>from</code>, <code>meter</code>"]
