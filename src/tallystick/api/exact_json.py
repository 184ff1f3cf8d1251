"""A JSON response whose amounts are exact numbers: 18.50 goes out as 18.50, never through a float."""

from starlette.responses import Response

from tallystick.base import strict_json


class ExactJSON(Response):
    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return strict_json.dumps(content)
