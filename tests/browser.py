"""A headless Chromium, asked what it makes of a page."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 60


def chromium() -> str | None:
    """Path of the browser, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def must_be_there() -> bool:
    """Whether a missing browser is a failure: in continuous integration, and in .ci/run, which gets one."""
    return any(os.environ.get(name, "").lower() in ("1", "true") for name in ("CI", "HOPSPEC_NEEDS_BROWSER"))


def look(page: str, probe: str, widths: tuple[int, ...], folder: Path) -> tuple[list[Any], list[str]]:
    """Show ``page`` in a frame of each width, run ``probe`` in it; return its results and console messages.

    Args:
        page: HTML.
        probe: body of an asynchronous JavaScript function of ``window`` and ``document`` of the frame.
        widths: of the frames in pixels; a window itself cannot be as narrow as a telephone.
        folder: where a file and the browser's profile can be put.
    """
    source = html.escape(page)
    frames = "".join(f'<iframe width="{w}" height="900" srcdoc="{source}"></iframe>' for w in widths)
    script = """
addEventListener("load", async () => {
  const found = [];
  for (const frame of document.querySelectorAll("iframe")) {
    const probe = async (window, document) => {
PROBE
    };
    try { found.push(await probe(frame.contentWindow, frame.contentDocument)); }
    catch (error) { found.push("failed: " + error.stack); }
  }
  document.body.innerHTML = "";
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
""".replace("PROBE", probe)
    (folder / "harness.html").write_text(
        f'<!doctype html><meta charset="utf-8"><body>{frames}<script>{script}</script>', encoding="utf-8"
    )
    browser = chromium()
    assert browser is not None
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        f"--user-data-dir={folder / 'profile'}",
        "--virtual-time-budget=20000",
        "--dump-dom",
        (folder / "harness.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, f"exit status {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}"
    results: list[Any] = json.loads(html.unescape(found[1]))
    return results, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
