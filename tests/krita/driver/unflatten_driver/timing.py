"""When things happen inside Krita: the plugin's steps, Krita's own calls within them, a 10 ms timer's lateness."""

import sys
import time

import krita
from PyQt5.QtCore import QByteArray, Qt, QTimer

# Krita's calls that the plugin makes and that may take long, each a single call that no plugin can cut up.
CALLS = {
    "Document": ["pixelData", "refreshProjection", "waitForDone", "createNode", "close", "setModified"],
    "Node": ["setPixelData", "addChildNode", "duplicate", "setVisible", "remove"],
    "Krita": ["createDocument"],
}


class Timing:
    """Watches one session from its trigger to its end."""

    def __init__(self):
        self._undo = []
        self._began = time.perf_counter()
        self.calls = []  # name, start, end
        self.steps = []  # start, end
        self.gaps = []  # start, end
        self.wire = []  # what the connection handed on, when
        self.bytes = {}
        self.last_row = self.handed_over = None
        self.outcome = self.report = None
        for kind, names in CALLS.items():
            for name in names:
                self._watch(
                    getattr(krita, kind), name, lambda start, end, a, n=name: self.calls.append((n, start, end))
                )
        session, layers = sys.modules["unflatten.session"], sys.modules["unflatten.layers"]
        self._watch(sys.modules["unflatten.connection"].JobConnection, "_emit", self._emitted)
        self._watch(session.Session, "step", self._stepped)
        self._watch(layers.Scratch, "write", self._written)
        self._watch(layers.Scratch, "redraw", lambda start, end, a: setattr(self, "handed_over", end))
        self._timer = QTimer()
        self._timer.setTimerType(Qt.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._last = time.perf_counter()
        self._timer.start(10)

    def _watch(self, owner, name, told):
        original = getattr(owner, name)

        def watched(*arguments, **named):
            start = time.perf_counter()
            try:
                return original(*arguments, **named)
            finally:
                told(start, time.perf_counter(), arguments)

        # What getattr gives for a wrapped class is not what stands in it: put back the descriptor itself.
        self._undo.append((owner, name, vars(owner)[name]))
        setattr(owner, name, watched)

    def _called(self, name, start, end, arguments):
        self.calls.append((name, start, end))

    def _emitted(self, start, end, arguments):
        event = arguments[1]
        self.wire.append((getattr(event, "stage", type(event).__name__), start))

    def _stepped(self, start, end, arguments):
        self.steps.append((start, end))
        session = arguments[0]
        if session.outcome is not None:
            self.outcome, self.report = session.outcome.message, session.report

    def _written(self, start, end, arguments):
        rows = arguments[1]
        self.bytes[rows.index] = self.bytes.get(rows.index, 0) + rows.size
        self.last_row = end

    def _tick(self):
        now = time.perf_counter()
        if now - self._last > 0.03:
            self.gaps.append((self._last, now))
        self._last = now

    def finish(self):
        """Everything in milliseconds since the trigger; None while the session runs."""
        if self.outcome is None:
            return None
        self._timer.stop()
        for owner, name, original in reversed(self._undo):
            setattr(owner, name, original)
        since = lambda moment: None if moment is None else round((moment - self._began) * 1000)  # noqa: E731
        return {
            "outcome": self.outcome,
            "report": self.report,
            "last_row": since(self.last_row),
            "handed_over": since(self.handed_over),
            "bytes": [self.bytes[index] for index in sorted(self.bytes)],
            "gaps": [[since(a), round((b - a) * 1000)] for a, b in self.gaps],
            "calls": [[name, since(a), round((b - a) * 1000)] for name, a, b in self.calls if b - a > 0.03],
            "wire": [[what, since(moment)] for what, moment in self.wire],
            "held": round(max(self._own(*step) for step in self.steps) * 1000),
        }

    def _own(self, start, end):
        """How long a step holds the main thread, less the longest single call of Krita's in it."""
        return end - start - max((b - a for _, a, b in self.calls if start <= a and b <= end), default=0.0)


def floor(document, layers):
    """Seconds of one pixelData of the canvas, and of one setPixelData of it for each of so many layers."""
    width, height = document.width(), document.height()
    start = time.perf_counter()
    data = document.pixelData(0, 0, width, height)
    read = time.perf_counter() - start
    scratch = krita.Krita.instance().createDocument(
        width, height, "", document.colorModel(), document.colorDepth(), document.colorProfile(), 72.0
    )
    nodes = [scratch.createNode(str(number), "paintlayer") for number in range(layers)]
    for node in nodes:
        scratch.rootNode().addChildNode(node, None)
    pixels = QByteArray(data)
    start = time.perf_counter()
    for node in nodes:
        node.setPixelData(pixels, 0, 0, width, height)
    write = time.perf_counter() - start
    scratch.setModified(False)
    scratch.close()
    return {"read": read, "write": write}
