"""A headless Chromium, driven by chromedriver (W3C WebDriver)."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

from httpd import Httpd, free_port

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=900,700"
)


class Browser:
    """One browser with one window; close it. An insecure one takes any certificate."""

    def __init__(self, profile: Path, insecure: bool = False) -> None:
        self._port = free_port()
        command = ["chromedriver", f"--port={self._port}"]
        self._driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Httpd._wait(self._is_ready, "chromedriver does not answer")
        options = {"args": [*_OPTIONS.split(), f"--user-data-dir={profile}"]}
        wanted = {
            "capabilities": {
                "alwaysMatch": {
                    "browserName": "chrome",
                    "goog:chromeOptions": options,
                    "acceptInsecureCerts": insecure,
                }
            }
        }
        self._session = "/session/" + self._ask("POST", "/session", wanted)["sessionId"]

    def close(self) -> None:
        """End it."""
        try:
            self._ask("DELETE", self._session)
        finally:
            self._driver.terminate()
            self._driver.wait()

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self._in_session("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._in_session("GET", "/url"))

    def text(self, selector: str) -> str:
        """The text of the first element that a CSS selector finds."""
        return str(self._in_session("GET", f"/element/{self._find(selector)}/text"))

    def has(self, selector: str) -> bool:
        """Is there such an element?"""
        return bool(self._in_session("POST", "/elements", {"using": "css selector", "value": selector}))

    def script(self, text: str) -> Any:
        """Run the body of a JavaScript function in the page; what it returns."""
        return self._in_session("POST", "/execute/sync", {"script": text, "args": []})

    def type(self, selector: str, text: str) -> None:
        """Type into an element; a path into a file input."""
        self._in_session("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def clear(self, selector: str) -> None:
        """Empty an input."""
        self._in_session("POST", f"/element/{self._find(selector)}/clear", {})

    def click(self, selector: str) -> None:
        """Click an element that leads to another page, and wait until that is loaded."""
        before = self._find("html")
        self._in_session("POST", f"/element/{self._find(selector)}/click", {})
        Httpd._wait(lambda: self._is_gone(before) and self._is_loaded(), "the click leads nowhere")

    def run(self, script: str) -> Any:
        """What a script returns; where that is a promise, what becomes of it."""
        return self._in_session("POST", "/execute/sync", {"script": script, "args": []})

    def look_like(self, width: int, height: int, scheme: str = "light") -> None:
        """A window of this size (CSS pixels), of a user who prefers light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._command("Emulation.setEmulatedMedia", {"features": [feature]})

    def _command(self, name: str, parameters: dict[str, Any]) -> None:
        self._in_session("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def screenshot(self, file: Path) -> None:
        """Save a picture of the window."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self._in_session("GET", "/screenshot")))

    def _is_gone(self, element: str) -> bool:
        try:
            self._in_session("GET", f"/element/{element}/name")
        except RuntimeError as error:
            return "stale element" in str(error) or "no such" in str(error)
        return False

    def _is_loaded(self) -> bool:
        return bool(self.script("return document.readyState") == "complete")

    def _find(self, selector: str) -> str:
        return str(self._in_session("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT])

    def _in_session(self, method: str, path: str, body: Any = None) -> Any:
        return self._ask(method, self._session + path, body)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{answer['error']}: {answer['message']}")
        return answer

    def _is_ready(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except OSError:
            return False
