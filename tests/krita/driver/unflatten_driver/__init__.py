"""A test-only plugin: answers calls on a local socket, each a function of `steps` run on Krita's main thread."""

import faulthandler
import json
import os
import sys
import traceback

from krita import Extension, Krita
from PyQt5.QtNetwork import QLocalServer

from . import steps


class Driver(Extension):
    """One JSON line in, {"step", "arguments"}; one JSON line out, {"value"} or {"error"}."""

    def setup(self):
        # Where a crash comes from stands in the log.
        faulthandler.enable()
        # Krita's own opens a dialog and waits, and crashes where no window is in front.
        sys.excepthook = steps.script_error
        self._connections = []
        self._server = QLocalServer(self)
        self._server.newConnection.connect(self._accept)
        self._server.listen(os.environ["UNFLATTEN_DRIVER_SOCKET"])

    def createActions(self, window):
        steps.watch(window)

    def _accept(self):
        connection = self._server.nextPendingConnection()
        # Held here: else the socket's wrapper and the lambda hold only each other, and Python's collector takes them,
        # in whichever thread it runs, while Qt calls the lambda.
        self._connections.append(connection)
        connection.readyRead.connect(lambda: self._answer(connection))
        connection.disconnected.connect(lambda: self._connections.remove(connection))

    def _answer(self, connection):
        while connection.canReadLine():
            call = json.loads(bytes(connection.readLine()))
            try:
                answer = {"value": getattr(steps, call["step"])(**call["arguments"])}
            except Exception:
                answer = {"error": traceback.format_exc()}
            connection.write(json.dumps(answer).encode() + b"\n")
            connection.flush()


Krita.instance().addExtension(Driver(Krita.instance()))
