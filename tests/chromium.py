"""Headless Chromium over its pipe of commands: what a page looks like, says and asks the network for.

The protocol is Chromium's own (DevTools protocol 1.3): JSON messages with a zero byte behind each,
read on descriptor 3 and written on descriptor 4.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS: Final = 60.0
# Everything on the page that is wider than its frame, unless it scrolls in a box of its own.
OVERFLOW: Final = """
(() => {
  const wide = document.documentElement.clientWidth;
  const found = [];
  if (document.documentElement.scrollWidth > wide) found.push("html " + document.documentElement.scrollWidth);
  for (const one of document.querySelectorAll("body *")) {
    if (one.closest(".scroll, svg, .skip") || !one.getClientRects().length) continue;
    const box = one.getBoundingClientRect();
    if (box.right > wide + 1 || box.left < -1) found.push(one.tagName + " " + one.className + " " + Math.round(box.right));
  }
  return found.slice(0, 8);
})()
"""
# Text and what lies under it, as the browser computed them: pairs with less contrast than 4.5.
CONTRAST: Final = """
(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const under = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const one of document.querySelectorAll("body *")) {
    if (one.closest("[hidden], .skip, script, title")) continue;
    if (![...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const style = getComputedStyle(one);
    const ink = one.closest("svg") ? parse(style.fill) : parse(style.color);
    const [a, b] = [light(ink), light(under(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(`${one.tagName}.${one.className.baseVal ?? one.className}: ${ratio.toFixed(2)}`);
  }
  return [...found].slice(0, 12);
})()
"""


def find() -> str | None:
    """The first Chromium on PATH."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@dataclass
class Seen:
    """What a page did while it was open."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


class Chromium:
    """One browser with one page; use it as a context manager."""

    def __init__(self, program: str, profile: Path) -> None:
        self.seen = Seen()
        self._number = 0
        self._rest = b""
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        flags = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--no-first-run", "--disable-extensions", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
        ]
        # Above 3 and 4, which are taken below, so that neither of them is overwritten.
        given = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (commands, answers)]
        self._process = os.posix_spawn(
            program,
            [program, *flags],
            {**os.environ, "HOME": str(profile)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                *(
                    (os.POSIX_SPAWN_DUP2, end, place)
                    for end, place in zip(given, (3, 4), strict=True)
                ),
            ],
        )
        for end in (commands, answers, *given):
            os.close(end)
        self._session = ""

    def __enter__(self) -> Self:
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        with suppress(ProcessLookupError):
            os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._read)

    def open(
        self, page: Path, *, width: int, height: int = 900, scheme: str = "light", media: str = ""
    ) -> None:
        """Open a file at a width, in a colour scheme, and wait until it is loaded."""
        self.seen = Seen()
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=media, features=features)
        self.ask("Page.navigate", url=page.resolve().as_uri())
        self._until("Page.loadEventFired")

    def evaluate(self, script: str) -> Any:
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )

    def screenshot(self, *, whole: bool = True) -> bytes:
        """A PNG of the page, all of it or what fits the window."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        return base64.b64decode(self.ask("Page.printToPDF", printBackground=True)["data"])

    # ── messages ─────────────────────────────────────────────────────────────────────────────────

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                found: dict[str, Any] = told["result"]
                return found

    def _until(self, event: str) -> None:
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self._read, 1 << 20)
            assert piece, "Chromium has ended"
            self._rest += piece
        line, self._rest = self._rest.split(b"\0", 1)
        told: dict[str, Any] = json.loads(line)
        self._note(told)
        return told

    def _note(self, told: Mapping[str, Any]) -> None:
        given = told.get("params", {})
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.seen.requests.append(given["request"]["url"])
            case "Runtime.exceptionThrown":
                self.seen.errors.append(str(given["exceptionDetails"].get("text")))
            case "Runtime.consoleAPICalled" if given["type"] in ("error", "warning"):
                self.seen.errors.append(json.dumps(given["args"]))
            case "Log.entryAdded" if given["entry"]["level"] in ("error", "warning"):
                self.seen.errors.append(given["entry"]["text"])
            case _:
                pass
