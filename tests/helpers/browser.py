"""A page in a real browser: Chromium without a window, driven by the DevTools protocol."""

import json
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
_KEYS = {"Tab": {"key": "Tab", "windowsVirtualKeyCode": 9}, "Space": {"key": " ", "text": " "}}


class Tab:
    """The one open tab; what it downloads goes into a folder."""

    def __init__(self, connection, downloads):
        self._connection, self._sent, self._session, self._events = connection, 0, {}, []
        (target,) = [found for found in self.call("Target.getTargets")["targetInfos"] if found["type"] == "page"]
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads), eventsEnabled=True)
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        self.call("Page.enable")
        self.call("Log.enable")

    def call(self, method, **parameters):
        """Send a command and return its result."""
        self._sent += 1
        self._connection.send(json.dumps({"id": self._sent, "method": method, "params": parameters, **self._session}))
        while (answer := self._receive()).get("id") != self._sent:
            self._events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, method, **wanted):
        """Return the parameters of the next event of a name that has these."""
        while True:
            for event in self._events:
                if event["method"] == method and wanted.items() <= event["params"].items():
                    self._events.remove(event)
                    return event["params"]
            self._events.append(self._receive())

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.wait("Page.loadEventFired")

    def run(self, code):
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, code=key, **_KEYS[key])

    def complaints(self):
        """Return what the browser logged about the page."""
        return [event["params"]["entry"]["text"] for event in self._events if event["method"] == "Log.entryAdded"]

    def _receive(self):
        return json.loads(self._connection.recv(timeout=60))


@contextmanager
def tab(downloads):
    """Start the browser with a profile of its own, and end it."""
    from websockets.sync.client import connect

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                (address,) = next(
                    found.groups() for line in process.stderr if (found := re.search(r"(ws://\S+)", line))
                )
                with connect(address, max_size=None) as connection:
                    yield Tab(connection, downloads)
            finally:
                process.terminate()
