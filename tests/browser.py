"""A headless Chromium that tests drive over its own pipe (the DevTools protocol): real widths, real keys, light and dark."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
_KEYS = {"Tab": 9, "Enter": 13, " ": 32, "ArrowDown": 40}


class Browser:
    """One page in one Chromium. What it asks from anywhere but the opened file is noted in ``asked``, errors in ``errors``."""

    def __init__(self, profile: Path) -> None:
        own_read, self._write = os.pipe()
        self._read, own_write = os.pipe()

        def place() -> None:  # Chromium reads commands from 3 and writes answers to 4
            high = [os.dup(own_read), os.dup(own_write)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self._process = subprocess.Popen(
            [str(CHROMIUM), *_QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            preexec_fn=place,  # noqa: PLW1509  its pipe must be 3 and 4; no test has threads
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(own_read)
        os.close(own_write)
        self._buffer, self._number, self._session = b"", 0, ""
        self.asked: list[str] = []
        self.errors: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._read)
        os.close(self._write)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command, return its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self._write, left) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        """Read one message; keep what an event says about errors and requests."""
        while b"\0" not in self._buffer:
            read = os.read(self._read, 1 << 16)
            assert read, "Chromium has ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        return message

    def open(self, file: Path, *, width: int = 1280, dark: bool = False, state: str = "") -> None:
        """Show a file at a width, in light or in dark; return when it has been drawn."""
        self.errors.clear()
        self.asked.clear()
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844 if width < 600 else 800,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send(
            "Page.navigate", url="about:blank"
        )  # another fragment alone would not load it anew
        self.send("Page.navigate", url=file.as_uri() + state)
        while (
            self.run("document.readyState") != "complete"
            or self.run("location.href") == "about:blank"
        ):
            pass
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """Evaluate an expression in the page, and wait for it where it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key as a person does."""
        text = {"Enter": "\r", " ": " "}.get(key, "" if key in _KEYS else key)
        code = {"windowsVirtualKeyCode": _KEYS.get(key, 0), "key": key}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **code)
        self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def picture(self, file: Path) -> None:
        """Write the whole page as PNG."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))
