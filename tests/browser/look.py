#!/usr/bin/env python3
"""Opens pages in a real headless Chromium and says what it saw, as JSON.

    look.py PROGRAM SHOTS PAGE.html...

PROGRAM is Chromium or its headless shell, spoken to by its DevTools protocol over two pipes: no port, no
driver, nothing but the standard library. For each page: console messages, exceptions and requests; sizes at
four windows; a screenshot of each, and a PDF, in the directory SHOTS; what Tab reaches; the accessibility
tree's headings, landmarks, tables and images; every text whose contrast with its background is below WCAG's AA.
"""

import base64
import fcntl
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time

PATIENCE = 60
PIECE = 1500
WINDOWS = [
    ("wide-light", 1280, "light"),
    ("wide-dark", 1280, "dark"),
    ("narrow-light", 360, "light"),
    ("narrow-dark", 360, "dark"),
]

CONTRAST = r"""
(() => {
  const parse = (text) => {
    const numbers = (text.match(/[\d.]+/g) || []).map(Number);
    return {rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1};
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.alpha > 0) return colour.rgb;
    }
    return [255, 255, 255];
  };
  const low = [];
  let seen = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    const element = walker.currentNode.parentElement;
    if (!text || ['SCRIPT', 'STYLE', 'title'].includes(element.tagName)) continue;
    if (!element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const front = parse(element.closest('svg') ? style.fill : style.color).rgb;
    const [a, b] = [light(front), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    seen += 1;
    if (ratio < 4.5) low.push(text.slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return {seen, low};
})()
"""

ABOUT = r"""
({
  title: document.title,
  lang: document.documentElement.lang,
  headings: [...document.querySelectorAll('h1,h2,h3,h4')].map((h) => [Number(h.tagName[1]), h.textContent.trim()]),
  captions: [...document.querySelectorAll('table')].map((t) => !!t.caption && t.caption.textContent.trim().length > 0),
  scopes: [...document.querySelectorAll('th')].every((th) => ['row', 'col'].includes(th.scope)),
  images: [...document.querySelectorAll('svg')].every((s) => s.getAttribute('aria-hidden') === 'true'
    || (s.getAttribute('role') === 'img' && (s.hasAttribute('aria-label') || s.hasAttribute('aria-labelledby')))),
  ids: [...document.querySelectorAll('[id]')].map((e) => e.id),
  targets: [...document.querySelectorAll('a[href^="#"]')].every((a) => document.querySelector(a.getAttribute('href'))),
  labelled: [...document.querySelectorAll('[aria-labelledby]')].every((e) => document.getElementById(e.getAttribute('aria-labelledby'))),
  scripts: document.scripts.length,
  // Only what can be seen: `display: none` has no boxes.
  text: document.body.innerText,
})
"""

FOCUSED = r"""
(() => {
  const at = document.activeElement;
  if (!at || at === document.body) return null;
  const style = getComputedStyle(at);
  return {
    what: at.getAttribute('href') || at.getAttribute('aria-label') || at.textContent.trim().slice(0, 40),
    shown: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0,
  };
})()
"""


class Browser:
    """Chromium behind two pipes; messages are ended by NUL."""

    def __init__(self, program, profile):
        # Descriptors 3 and 4 are the protocol's, so that ours must lie higher.
        pipes = [fd for pair in (os.pipe(), os.pipe()) for fd in pair]
        reads, self.sink, self.source, writes = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in pipes)
        for fd in pipes:
            os.close(fd)

        def hand_over():
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-sandbox",  # CI is root in a container; the page is our own
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=hand_over,
        )
        os.close(reads)
        os.close(writes)
        self.number = 0
        self.rest = b""
        self.events = []

    def message(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.source], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser does not answer")
            some = os.read(self.source, 1 << 20)
            if not some:
                raise EOFError("the browser has ended")
            self.rest += some
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, session=None, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        os.write(self.sink, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.message())

    def end(self):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except Exception:
            self.process.kill()
            self.process.wait()


class Page:
    def __init__(self, browser):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def value(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def window(self, width, scheme, height=900):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13}[key]
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)


def tree(page):
    """Roles and names of what assistive technology is told of."""
    seen = []
    for node in page.call("Accessibility.getFullAXTree")["nodes"]:
        if node.get("ignored"):
            continue
        seen.append([node.get("role", {}).get("value", ""), node.get("name", {}).get("value", "")])
    return seen


def look(browser, path, shots):
    name = path.stem
    browser.events.clear()
    page = Page(browser)
    page.window(1280, "light")
    page.call("Page.navigate", url=path.resolve().as_uri())
    browser.wait("Page.loadEventFired")
    found = {"page": name, "about": page.value(ABOUT), "windows": {}}
    for window, width, scheme in WINDOWS:
        page.window(width, scheme)
        size = page.value("({width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight})")
        size["contrast"] = page.value(CONTRAST)
        found["windows"][window] = size
        # In pieces that can be looked at.
        for number, top in enumerate(range(0, min(size["height"], 12000), PIECE), 1):
            shot = page.call("Page.captureScreenshot", captureBeyondViewport=True, clip={
                "x": 0, "y": top, "width": width, "height": min(size["height"] - top, PIECE), "scale": 1})
            (shots / f"{name}-{window}-{number}.png").write_bytes(base64.b64decode(shot["data"]))
    page.window(1280, "light")
    reached = []
    for _ in range(80):
        page.press("Tab")
        at = page.value(FOCUSED)
        if at is None or (reached and at["what"] == reached[0]["what"]):
            break
        reached.append(at)
    found["reached"] = reached
    kept = {"heading", "image", "img", "table", "main", "banner", "contentinfo", "navigation", "region", "link", "list"}
    found["tree"] = [node for node in tree(page) if node[0] in kept or node[0] == "RootWebArea"]
    page.call("Emulation.setEmulatedMedia", media="", features=[])
    pdf = page.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
    (shots / f"{name}.pdf").write_bytes(base64.b64decode(pdf["data"]))
    events = [event for event in browser.events if event.get("sessionId") == page.session]
    found["console"] = [
        json.dumps(event["params"])[:400]
        for event in events
        if event["method"] in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    ]
    found["requests"] = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return found


def main():
    program, shots, pages = sys.argv[1], pathlib.Path(sys.argv[2]), [pathlib.Path(one) for one in sys.argv[3:]]
    shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = Browser(program, profile)
        try:
            json.dump([look(browser, page, shots) for page in pages], sys.stdout)
        finally:
            browser.end()


main()
