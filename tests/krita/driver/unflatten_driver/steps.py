"""What the tests may ask of a running Krita. Every step runs on the main thread and returns something JSON can hold."""

import gc
import re
import sys
import traceback

import krita as krita_module
from krita import Krita, View
from PyQt5.QtCore import QByteArray, Qt, QTimer
from PyQt5.QtWidgets import QApplication, QLabel, QMenu, QPushButton

from . import timing

windows = []
_documents = {}


def watch(window):
    windows.append(window)


def window_is_open():
    return Krita.instance().activeWindow() is not None


def window_number():
    """The main window's number in X."""
    return int(Krita.instance().activeWindow().qwindow().winId())


def open_window():
    """Open a second main window, which comes to the front."""
    window = Krita.instance().openWindow()
    window.qwindow().show()
    window.qwindow().activateWindow()
    return len(Krita.instance().windows())


def close_window():
    """Close the main window in front, with its views; how many are left."""
    Krita.instance().activeWindow().qwindow().close()
    return len(Krita.instance().windows())


def views_in_front():
    """How many views the main window in front has; -1 where there is none."""
    window = Krita.instance().activeWindow()
    return len(window.views()) if window is not None else -1


def show(name):
    """Give the document a view in the main window in front."""
    Krita.instance().activeWindow().addView(_documents[name])


_errors = []


def script_error(*error):
    text = "".join(traceback.format_exception(*error))
    sys.stderr.write(text)
    _errors.append(text)


def script_errors():
    """What Krita would have shown as “Script error”; each is told once."""
    told = list(_errors)
    _errors.clear()
    return told


def canvas_middle():
    """A point of the screen within the canvas in front."""
    area = Krita.instance().activeWindow().qwindow().centralWidget()
    point = area.mapToGlobal(area.rect().center())
    return [point.x(), point.y()]


def places_of_windows():
    """Where on the screen the plugin's windows are."""
    found = []
    for widget in QApplication.topLevelWidgets():
        if widget.objectName() == "unflatten_progress" and widget.isVisible():
            frame = widget.frameGeometry()
            found.append([frame.x(), frame.y(), frame.width(), frame.height()])
    return found


# Documents, by a name that the test chooses.


def open_document(name, path):
    document = Krita.instance().openDocument(path)
    _show(name, document)
    return document is not None


def create_document(name, width, height, model="RGBA", depth="U8", profile=""):
    document = Krita.instance().createDocument(width, height, name, model, depth, profile, 72.0)
    _show(name, document)


def _show(name, document):
    document.setBatchmode(True)
    _documents[name] = document
    Krita.instance().activeWindow().addView(document)


def activate(name):
    """Bring the document's view to the front."""
    for view in Krita.instance().activeWindow().views():
        if view.document() == _documents[name]:
            Krita.instance().activeWindow().showView(view)
            view.setVisible()


def document_names():
    return list(_documents)


def close_document(name):
    document = _documents.pop(name)
    document.waitForDone()
    document.setModified(False)
    return document.close()


def convert(name, model, depth, profile=""):
    """Change the document's colour space, as Image › Convert Image Color Space… does; the profile it then has."""
    document = _documents[name]
    document.setColorSpace(model, depth, profile or Krita.instance().profiles(model, depth)[0])
    document.waitForDone()
    return document.colorProfile()


def fill(name, path):
    """Put raw pixels (in the document's own numbers; 8-bit RGB is blue, green, red, alpha) into the lowest layer."""
    document = _documents[name]
    with open(path, "rb") as file:
        document.rootNode().childNodes()[0].setPixelData(
            QByteArray(file.read()), 0, 0, document.width(), document.height()
        )
    document.refreshProjection()
    document.waitForDone()


def add_layers(name, paths):
    """Put a paint layer with raw pixels over the others for each file, bottom to top."""
    document = _documents[name]
    for path in paths:
        node = document.createNode("layer", "paintlayer")
        with open(path, "rb") as file:
            node.setPixelData(QByteArray(file.read()), 0, 0, document.width(), document.height())
        document.rootNode().addChildNode(node, None)
    document.refreshProjection()
    document.waitForDone()


def add_file_layer(name, path):
    """Put a layer over the others that shows a file."""
    document = _documents[name]
    document.rootNode().addChildNode(document.createFileLayer("file", path, "None"), None)
    document.waitForDone()


def remove_all_layers(name):
    for node in _documents[name].rootNode().childNodes():
        node.remove()
    _documents[name].waitForDone()


def resize(name, width, height):
    _documents[name].resizeImage(0, 0, width, height)


def paint(name):
    """Change a corner of the lowest layer, as an artist would meanwhile."""
    document = _documents[name]
    document.rootNode().childNodes()[0].setPixelData(QByteArray(bytes([9, 9, 9, 255]) * 64), 0, 0, 8, 8)
    document.refreshProjection()


def save(name, path):
    document = _documents[name]
    document.setBatchmode(True)
    return document.saveAs(path)


def layers(name):
    """The tree, bottom to top."""
    document = _documents[name]
    document.waitForDone()
    return [_tree(node) for node in document.rootNode().childNodes()]


def _tree(node):
    bounds = node.bounds()
    return {
        "name": node.name(),
        "type": node.type(),
        "visible": node.visible(),
        "mode": node.blendingMode(),
        "bounds": [bounds.x(), bounds.y(), bounds.width(), bounds.height()],
        "space": [node.colorModel(), node.colorDepth(), node.colorProfile()],
        "children": [_tree(child) for child in node.childNodes()],
    }


def projection(name, path):
    """Write the picture as the artist sees it, raw, to `path`."""
    document = _documents[name]
    document.waitForDone()
    _write(path, document.pixelData(0, 0, document.width(), document.height()))
    return [document.width(), document.height()]


def layer_pixels(name, group, index, path):
    """Write the pixels of a layer of a group, over the whole canvas, raw, to `path`."""
    document = _documents[name]
    node = next(node for node in document.rootNode().childNodes() if node.name() == group).childNodes()[index]
    _write(path, node.pixelData(0, 0, document.width(), document.height()))


def _write(path, data):
    with open(path, "wb") as file:
        file.write(bytes(data))


def is_modified(name):
    return _documents[name].modified()


def select(name, index):
    document = _documents[name]
    document.setActiveNode(document.rootNode().childNodes()[index])


def active_layer(name):
    return _documents[name].activeNode().name()


def show_layer(name, group, index, visible):
    """Switch a layer of a group on or off, as the eye in the Layers docker does."""
    document = _documents[name]
    node = next(node for node in document.rootNode().childNodes() if node.name() == group).childNodes()[index]
    node.setVisible(visible)
    document.refreshProjection()
    document.waitForDone()


def animate(name):
    """Give the lowest layer keyframes at the times 0 and 5; what the frame at 5 shows differs."""
    document = _documents[name]
    document.setCurrentTime(0)
    document.setActiveNode(document.rootNode().childNodes()[0])
    Krita.instance().action("add_duplicate_frame").trigger()
    document.waitForDone()
    document.setCurrentTime(5)
    Krita.instance().action("add_blank_frame").trigger()
    document.waitForDone()
    document.setCurrentTime(0)
    document.waitForDone()


# The window.


def trigger(action):
    Krita.instance().action(action).trigger()


def action_state(action):
    found = Krita.instance().action(action)
    return {
        "text": found.text(),
        "enabled": found.isEnabled(),
        "checked": found.isChecked(),
        "icon": not found.icon().isNull(),
        "shortcut": found.shortcut().toString(),
    }


def setting(group, name):
    """What is kept in kritarc."""
    return Krita.instance().readSetting(group, name, "")


def menu_entries(action):
    """The entries of the menu that an action is in; a separator is an empty name."""
    (menu,) = [each for each in Krita.instance().action(action).associatedWidgets() if isinstance(each, QMenu)]
    return [each.objectName() for each in menu.actions()]


def collect_garbage(automatically):
    """Switch Python's collector of circles on or off."""
    gc.collect()
    gc.enable() if automatically else gc.disable()


def living(kind):
    """How many objects of a class of that name Python holds."""
    return sum(type(each).__name__ == kind for each in gc.get_objects())


def undo_when_the_group_arrives(name):
    """Press undo within the first ticks of the group's life, and once more after each second that it is still there.

    Krita spends an undo on whatever stroke of its own still runs (KisStrokesQueue::tryCancelCurrentStrokeAsync), such
    as one that redraws the canvas.
    """
    timer = QTimer()
    pressed = False

    def look():
        nonlocal pressed
        document = _documents.get(name)
        if document is None:  # the test is over: an error in a slot may end Krita
            timer.stop()
        elif len(document.rootNode().childNodes()) > 1:
            Krita.instance().action("edit_undo").trigger()
            pressed = True
            timer.setInterval(1000)
        elif pressed:
            timer.stop()

    timer.timeout.connect(look)
    timer.start(1)
    windows.append(timer)


def trigger_while_layers_fill(action):
    """Trigger an action once the first rows of a layer are written."""
    scratch = sys.modules["unflatten.layers"].Scratch
    original = scratch.write

    def written(self, rows):
        scratch.write = original
        original(self, rows)
        QTimer.singleShot(0, Krita.instance().action(action).trigger)

    scratch.write = written


def profiles(model="RGBA", depth="U8"):
    return Krita.instance().profiles(model, depth)


def running():
    """The documents that are being taken apart."""
    for extension in Krita.instance().extensions():
        if type(extension).__name__ == "Unflatten":
            return [each.session.canvas.name for each in extension._running]
    raise LookupError("The plugin is not loaded.")


def undo(name):
    trigger("edit_undo")
    _documents[name].waitForDone()


def undo_state():
    """Whether there is something to undo and to redo."""
    return [Krita.instance().action(each).isEnabled() for each in ("edit_undo", "edit_redo")]


def progress_windows():
    """The plugin's windows that can be seen: title and texts."""
    found = []
    for widget in QApplication.topLevelWidgets():
        if widget.objectName() == "unflatten_progress" and widget.isVisible():
            texts = [label.text() for label in widget.findChildren(QLabel) if label.isVisible() and label.text()]
            found.append({"title": widget.windowTitle(), "texts": texts, "modal": widget.isModal()})
    return found


def press(button):
    """Press a button of the plugin's window; whether there was one."""
    for widget in QApplication.topLevelWidgets():
        if widget.objectName() == "unflatten_progress" and widget.isVisible():
            for each in widget.findChildren(QPushButton):
                if each.text().replace("&", "") == button:
                    each.click()
                    return True
    return False


def clear_windows():
    """Close what a failed test may have left open."""
    for widget in QApplication.topLevelWidgets():
        if widget.objectName() == "unflatten_progress" and widget.isVisible():
            widget.reject()


def text_formats():
    """Whether all texts of the plugin's windows are plain, and selectable."""
    labels = [
        label
        for widget in QApplication.topLevelWidgets()
        if widget.objectName() == "unflatten_progress"
        for label in widget.findChildren(QLabel)
    ]
    return {
        "plain": all(label.textFormat() == Qt.PlainText for label in labels),
        "selectable": all(bool(label.textInteractionFlags() & Qt.TextSelectableByMouse) for label in labels),
    }


_messages = []


def keep_messages():
    """Write down what floats over the canvas from now on, and over which document's."""
    _messages.clear()
    original = vars(View)["showFloatingMessage"]

    def shown(view, text, *others):
        name = next((name for name, document in _documents.items() if document == view.document()), "")
        _messages.append([name, text])
        View.showFloatingMessage = original
        view.showFloatingMessage(text, *others)

    View.showFloatingMessage = shown


def messages():
    return _messages


# Times.

_timing = []


def time_next_session():
    """Watch from now on, and press the action."""
    _timing.append(timing.Timing())
    trigger("unflatten_image")


def timed():
    """What was seen; None while the session still runs."""
    result = _timing[-1].finish()
    if result is not None:
        _timing.pop()
    return result


def time_the_floor(name, layers):
    return timing.floor(_documents[name], layers)


# The API.


def signatures(kind, names):
    """Fewest and most arguments of each method, read from the signatures that sip puts into the docstrings."""
    return {name: _arity(getattr(getattr(krita_module, kind), name, None)) for name in names}


def _arity(method):
    if method is None:
        return None
    counts = []
    for arguments in re.findall(r"\w+\((.*?)\)(?: ->.*)?$", method.__doc__ or "", re.MULTILINE):
        given = [each for each in _split(arguments) if each not in ("self", "")]
        counts.append((len([each for each in given if "=" not in each]), len(given)))
    return [min(each[0] for each in counts), max(each[1] for each in counts)] if counts else None


def _split(arguments):
    """At the commas outside brackets."""
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "[(") - (character in ")]")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
