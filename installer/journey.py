"""What install.py does, on one page: environment, weights, plugin, sample; the way back; the tests."""

import argparse
import os
import sys
from pathlib import Path

from bridge.connection_file import data_dir
from bridge.krita import places
from bridge.krita.places import Krita
from bridge.weights import check_weights
from installer import gpu, testing
from installer.accelerators import NAMES
from installer.environment import Environment
from installer.place import place_plugin, take_plugin_away
from installer.plugin import ROOT, assemble
from installer.record import Record, digest
from installer.run import answer, run
from installer.say import Failure, failure, heading, line, use_utf_8
from installer.tie import ended_in_order

SAMPLE = Path("bridge/sample/poster.png")
RESULTS = ("sample.ora", "sample-layers.png")


def main(arguments: list[str]) -> int:
    use_utf_8()
    wishes = _parser().parse_args(arguments)
    with ended_in_order():
        return _go(wishes)


def _go(wishes: argparse.Namespace) -> int:
    try:
        if wishes.assemble:
            return _assemble(wishes.assemble)
        if wishes.uninstall:
            return uninstall()
        if wishes.test is not None:
            return testing.run_tests(Environment(ROOT), wishes.test)
        return install(wishes)
    except Failure as problem:
        failure(problem)
    except BrokenPipeError:
        # Whoever read the output has gone (“| head”): nobody is left to tell, nor when Python closes its output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        name = problem.filename or "A file"
        failure(Failure(f"{name} could not be written or read: {problem.strerror}.", "mend that, then run this again."))
    except KeyboardInterrupt:
        failure(Failure("Stopped.", "run this again whenever you like: it goes on where it stopped."))
        return 130
    return 1


def install(wishes: argparse.Namespace) -> int:
    """Set everything up, or bring it up to date."""
    environment = Environment(ROOT)
    models = gpu.wished(ROOT, wishes.gpu, wishes.yes)
    record = Record.load(ROOT)
    code = digest(*sorted((ROOT / "bridge").rglob("*.py")), ROOT / "requirements.lock")
    if record.code and (record.code != code or (models and not models.up_to_date)):
        stop_bridge(environment)

    heading("The bridge")
    environment.make(dev=False)
    verify_weights()
    fresh = record.code != code
    record.code = code
    record.save(ROOT)
    if models:
        gpu.set_up(models)

    heading("Krita")
    kritas = _kritas(wishes)
    for found in kritas:
        place_plugin(found, environment, data_dir(), record)
        record.save(ROOT)

    heading("The sample picture")
    split_sample(environment, record, fresh)
    record.save(ROOT)
    _what_next(environment, kritas)
    return 0


def uninstall() -> int:
    """Take away what `install` put there, and say what stays."""
    environment = Environment(ROOT)
    record = Record.load(ROOT)
    heading("Uninstalling")
    stop_bridge(environment)
    for name in list(record.plugins):
        take_plugin_away(record.plugins[name], environment)
        del record.plugins[name]
        record.save(ROOT)
    for name, known in record.results.items():
        result = ROOT / name
        if result.is_file() and digest(result) != known:
            line(f"{name} was changed since it was made, so it stays.")
        elif result.is_file():
            result.unlink()
            line(f"Removed {name}.")
    if environment.remove():
        line("Removed the bridge's environment (.venv).")
    gpu.take_away(ROOT)
    for cache in sorted((ROOT / "bridge").rglob("__pycache__")):
        for compiled in cache.glob("*.pyc"):
            compiled.unlink()
        cache.rmdir()
    (ROOT / "installed.json").unlink(missing_ok=True)
    if data_dir().is_dir() and any(path.name != "models" for path in data_dir().iterdir()):
        line(f"Results of earlier jobs and the log stay in {data_dir()}. Delete that folder if you want them gone too.")
    line("Your pictures and layered files are untouched. Unflatten is uninstalled.")
    return 0


def verify_weights() -> None:
    """Stop here where a model's weights did not arrive whole."""
    checked = check_weights()
    for weights in checked:
        if weights.problem:
            raise Failure(weights.problem, "get a complete copy of Unflatten, then run this again.")
    line(f"The models' weights are whole ({len(checked)} checked).")


def split_sample(environment: Environment, record: Record, fresh: bool) -> None:
    """Split the sample picture, which also proves that everything works; not again where nothing has changed."""
    ours = all((ROOT / name).is_file() and record.results.get(name) == digest(ROOT / name) for name in RESULTS)
    if ours and not fresh:
        line("sample.ora and sample-layers.png are up to date.")
        return
    foreign = [name for name in RESULTS if (ROOT / name).exists() and record.results.get(name) != digest(ROOT / name)]
    if foreign:
        line(f"{' and '.join(foreign)} is not as the installer made it, so it stays as it is.")
        return
    line("Splitting it into layers.")
    layers, sheet = (ROOT / name for name in RESULTS)
    command = [environment.command, "split", ROOT / SAMPLE, "-o", layers, "--sheet", sheet, "--seed", "1", "--force"]
    run(command, "Splitting the sample picture", f"run “{environment.command} doctor”, which says what is missing.")
    record.results = {name: digest(ROOT / name) for name in RESULTS}
    line(f"Its layers are in {layers}.")
    line(f"To see them at a glance, open {sheet}.")


def stop_bridge(environment: Environment) -> None:
    """End a bridge that runs from before the update; Krita starts the new one when it needs it."""
    if environment.command.is_file() and answer([environment.command, "stop"]) == "stopped":
        line("Stopped the bridge that was running.")


def _kritas(wishes: argparse.Namespace) -> list[Krita]:
    if wishes.no_krita:
        line("Left alone, as you asked.")
        return []
    if wishes.krita_resources:
        return [places.at(wishes.krita_resources)]
    found = places.find()
    if not found:
        line("No Krita was found. Unflatten works without it, on the command line.")
        line("Once Krita is installed, run this again. If it is in an unusual place, add --krita-resources with the")
        line("folder that Krita shows under Settings › Manage Resources › Open Resource Folder.")
    return found


def _what_next(environment: Environment, kritas: list[Krita]) -> None:
    heading("Done. What to do next")
    if any(not found.sandboxed for found in kritas):
        line("1. Start Krita. If it is open, close it and start it again.")
        line("2. Open a picture.")
        line("3. Press Ctrl+Alt+U, or choose Layer › Unflatten Image.")
        line("Your own layers stay as they are; one Ctrl+Z takes the new ones away again.")
    for found in kritas:
        if found.sandboxed:
            line(f"{found.title} may not start programs outside its own box. Before you unflatten a picture in it,")
            line("start the bridge in a terminal and leave it running:")
            line(f"{_quoted(environment.command)} serve --idle-minutes 0")
    line(f"Without Krita: {_quoted(environment.command)} split PICTURE.png -o LAYERS.ora")


def _assemble(target: Path) -> int:
    """For developers and tests: the plugin alone, in a folder of their choice."""
    assemble(target.absolute(), Environment(ROOT), data_dir())
    line(f"The plugin is in {target}.")
    return 0


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 install.py",
        description="Sets Unflatten up for you and, where Krita is present, for Krita. Run it again to update.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--uninstall", action="store_true", help="remove everything that this put on your computer")
    what.add_argument(
        "--test",
        nargs=argparse.REMAINDER,
        metavar="PYTEST ARGUMENT",
        help="set up what the tests need, and run them all (or what pytest is told to run)",
    )
    what.add_argument("--assemble", type=Path, metavar="FOLDER", help="only put the plugin together, in this folder")
    parser.add_argument(
        "--krita-resources", type=Path, metavar="FOLDER", help="Krita's resource folder, if it is in an unusual place"
    )
    parser.add_argument(
        "--gpu",
        nargs="?",
        const="auto",
        choices=("auto", *NAMES),
        help="also what models on your own GPU need: some GB, in an environment of its own (it asks first)",
    )
    parser.add_argument("--yes", action="store_true", help="fetch what --gpu needs without being asked")
    parser.add_argument("--no-krita", action="store_true", help="leave Krita alone")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
