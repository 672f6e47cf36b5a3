# SPDX-License-Identifier: GPL-3.0-or-later
"""Chromium without a window, driven over its DevTools protocol; what it logs and asks the network for is kept."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import websocket

SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
]
START_SECONDS = 60


def chromium() -> str:
    """The path of Chromium, installed from Debian where it is missing; AssertionError says what to do elsewhere."""
    path = shutil.which("chromium")
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-qy", "--no-install-recommends", "chromium"]):
            # Meanwhile another process of pytest may have an engine for containers installed.
            waiting = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *command]
            subprocess.run(waiting, env=environment, capture_output=True, check=False)
        path = shutil.which("chromium")
    assert path, "Chromium is missing, and only root on Debian can have it installed: `apt-get install chromium`."
    return path


class Tab:
    """One page, and all that it did."""

    def __init__(self, address: str):
        """Connect to the page at the DevTools address."""
        # The peer is Chromium itself on loopback.
        self._socket = websocket.create_connection(address, timeout=START_SECONDS)
        self._number = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        # A window that nobody sees has no focus to give.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **parameters):
        """Call a method of the protocol; events that come in between are kept."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _note(self, event: dict) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, path: Path) -> None:
        """Load a file and wait until it is there."""
        self.visit(path.as_uri())

    def visit(self, address: str) -> None:
        """Load an address, which may have a name and a password in it, and wait until it is there."""
        self.call("Page.navigate", url=address)
        parts = urlsplit(address)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(shown)}", f"{shown} is loaded")

    def wait(self, script: str, what: str) -> None:
        """Wait until an expression of JavaScript is true; `what` says to a person what it means."""
        deadline = time.monotonic() + START_SECONDS
        while not self.run(script):
            assert time.monotonic() < deadline, f"not so within {START_SECONDS} s: {what}"
            time.sleep(0.05)

    def run(self, script: str):
        """The value of an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def size(self, width: int, height: int) -> None:
        """Give the window a size, a phone's with its own scale."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str) -> None:
        """Prefer "light" or "dark", as a person's system does."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, key: str, **more) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, **more)

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what is seen, or the whole page, to a file."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path, *switches: str):
    """A page of a Chromium that is ended with the block. profile: a new, empty folder."""
    started = subprocess.Popen(
        [chromium(), *SWITCHES, *switches, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port_file = profile / "DevToolsActivePort"
        deadline = time.monotonic() + START_SECONDS
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert started.poll() is None, f"Chromium ended with status {started.returncode}"
            assert time.monotonic() < deadline, f"Chromium did not start within {START_SECONDS} s"
            time.sleep(0.05)
        yield Tab(_first_page(int(port_file.read_text().splitlines()[0])))
    finally:
        started.terminate()
        started.wait(timeout=30)


def _first_page(port: int) -> str:
    """The DevTools address of the page that Chromium opened."""
    import urllib.request

    # Never through a proxy: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while True:
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        if pages:
            return pages[0]["webSocketDebuggerUrl"]
        assert time.monotonic() < deadline, "Chromium opened no page"
        time.sleep(0.05)
