"""A real browser, Chromium without a window, driven over WebDriver's own HTTP interface."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from typing import Any

import pytest

from tests.support.hosts import PATIENCE
from tests.support.waiting import wait_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DRIVER = shutil.which("chromedriver")
_CHROMIUM = shutil.which("chromium")
_PORT = re.compile(r"started successfully on port (\d+)")
_SECONDS = 40.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the key of an element, by WebDriver's rules
_OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
]  # fmt: skip

needs_browser = pytest.mark.skipif(
    _DRIVER is None or _CHROMIUM is None,
    reason="needs Debian's packages chromium and chromium-driver",
)


class Browser:
    """A window of a browser."""

    def __init__(self, port: int, directory: str) -> None:
        self._port = port
        wanted = {"binary": _CHROMIUM, "args": [*_OPTIONS, f"--user-data-dir={directory}"]}
        capabilities = {
            "goog:chromeOptions": wanted,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._path = "/session"
        made = self._ask("POST", "", capabilities={"alwaysMatch": capabilities})
        self._path = f"/session/{made['sessionId']}"

    def _ask(self, method: str, path: str, **values: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        with contextlib.closing(connection):
            body = json.dumps(values) if method == "POST" else None
            connection.request(method, self._path + path, body)
            with connection.getresponse() as response:
                value = json.loads(response.read())["value"]
        assert not (isinstance(value, dict) and "error" in value), value
        return value

    def open(self, url: str) -> None:
        """Open a page, and wait until it is there."""
        self._ask("POST", "/url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page; return what it returns."""
        return self._ask("POST", "/execute/sync", script=script, args=list(arguments))

    def _find(self, selector: str) -> str:
        found = self._ask("POST", "/element", using="css selector", value=selector)
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector: str) -> None:
        """Click on the first element of this kind."""
        self._ask("POST", f"{self._find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Type into the first element of this kind."""
        self._ask("POST", f"{self._find(selector)}/value", text=text)

    def text(self, selector: str = "body") -> str:
        """Return the text that a user sees."""
        return str(self._ask("GET", f"{self._find(selector)}/text"))

    def wait_for(self, selector: str, text: str) -> None:
        """Wait until there is an element that has a text in it."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        wait_until(
            lambda: text in self.run(script, selector), f"{text!r} is in {selector}", PATIENCE
        )

    @property
    def url(self) -> str:
        """The address of the page."""
        return str(self._ask("GET", "/url"))

    def complaints(self) -> list[str]:
        """Return what the browser has complained about since it was asked before."""
        found = self._ask("POST", "/se/log", type="browser")
        return [one["message"] for one in found if one["level"] in {"SEVERE", "WARNING"}]

    def close(self) -> None:
        """Close it."""
        self._ask("DELETE", "")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser until the end of the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, _driver() as port:
        window = Browser(port, directory)
        try:
            yield window
        finally:
            window.close()


@contextlib.contextmanager
def _driver() -> Iterator[int]:
    """Run the driver; yield its port."""
    assert _DRIVER is not None
    command = [_DRIVER, "--port=0"]
    environment = {**os.environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    for attempt in range(5):  # the port that it takes may be in use for IPv6: then it gives up
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
        ) as driver:
            try:
                assert driver.stdout is not None
                printed = ""
                while not (found := _PORT.search(printed)) and (line := driver.stdout.readline()):
                    printed += line
                if found:
                    yield int(found[1])
                    return
                assert attempt < 4, f"the driver does not start: {printed}"
            finally:
                driver.terminate()
