"""What a request's Cookie field is, for each interface."""

from __future__ import annotations

import json
from typing import Any

from mod_python import apache


def environment(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [json.dumps({name: value for name, value in environ.items() if isinstance(value, str)}).encode()]


def handler(req: Any) -> int:
    body = req.headers_in["Cookie"].encode("latin-1")
    req.set_content_length(len(body))
    req.write(body)
    return int(apache.OK)
