"""A server with ASGI applications, and how tests and applications tell one another something (apps/asgi_apps.py)."""

from __future__ import annotations

import ast
import json
import time
from typing import Any

from conftest import APPS, Serve, Server

from httpd import PATIENCE


def applications(module: str) -> str:
    """A line for each application of a module of tests/apps."""
    names = [
        node.name
        for node in ast.parse((APPS / f"{module}.py").read_text()).body
        if isinstance(node, ast.AsyncFunctionDef)
        and [one.arg for one in node.args.args] == ["scope", "receive", "send"]
    ]
    return "".join(f"PythonASGI /{name} {module}:{name}\n" for name in names)


def site(serve: Serve, config: str, **settings: Any) -> Server:
    """Start a server with a place for notes."""
    server = serve("PythonPath \"sys.path+['@ROOT@/apps']\"\n" + config, start=False, **settings)
    notes = server.root / "notes"
    notes.mkdir()
    notes.chmod(0o777)
    server.start()
    return server


def open_gate(server: Server, name: str, shut: bool = False) -> None:
    gate = server.root / "notes" / name
    if shut:
        gate.unlink(missing_ok=True)
    else:
        gate.touch()


def heard(server: Server) -> Any:
    """What an application has noted; each note is heard once."""
    note = server.root / "notes" / "seen"
    end = time.monotonic() + PATIENCE
    while not note.exists():
        assert time.monotonic() < end, server.log_text()[-3000:]
        time.sleep(0.005)
    values = json.loads(note.read_text())
    note.unlink()
    return values
