"""The command line: unflatten split | batch | serve | stop | status | doctor | models | set | key |
fal-env."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from bridge import __version__
from bridge.command.models import app as models_app
from bridge.errors import BadSettings, Cancelled, UnflattenError

# What a command needs is imported inside it: --help answers at once, and `status` loads no picture library.
INTERRUPTED = 130

app = typer.Typer(
    name="unflatten",
    help="Takes a flat picture apart into named layers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # drawn frames would double the time that --help takes
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

key_app = typer.Typer(help="Keys of remote services, in the system's keyring.", no_args_is_help=True)
app.add_typer(key_app, name="key")
app.add_typer(models_app, name="models")

Service = Annotated[str, typer.Argument(help="Whose key.", metavar="SERVICE")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
# As text: one schema checks them all, and tells of them in sentences.
Layers = Annotated[str | None, typer.Option(help="“auto”, or the most layers wanted: 1 to 10.", metavar="auto|N")]
Prompt = Annotated[str | None, typer.Option(help="What the picture shows.", metavar="TEXT")]
NegativePrompt = Annotated[str | None, typer.Option(help="What its layers shall not show.", metavar="TEXT")]
Steps = Annotated[str | None, typer.Option(help="Steps of the model: 1 to 50.", metavar="N")]
GuidanceScale = Annotated[str | None, typer.Option(help="How closely it follows the prompt: 1 to 20.", metavar="X")]
Seed = Annotated[str | None, typer.Option(help="The same seed gives the same layers.", metavar="N")]
Acceleration = Annotated[str | None, typer.Option(help="none, regular or high.", metavar="LEVEL")]
SafetyChecker = Annotated[
    bool | None, typer.Option("--safety-checker/--no-safety-checker", help="Look for what is not safe to show.")
]
Backend = Annotated[str | None, typer.Option(help="Who splits; “unflatten doctor” lists them.", metavar="NAME")]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="One of the backend's own options.", metavar="NAME=VALUE")
]


@app.command()
def split(
    picture: Annotated[Path, typer.Argument(help="Most kinds of pictures, or “-”: one from a pipe.", readable=False)],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="OUT.ora, OUT.psd, DIR/ for PNG files, “-”: ORA to a pipe.", metavar="OUT"),
    ],
    layers: Layers = None,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    seed: Seed = None,
    acceleration: Acceleration = None,
    safety_checker: SafetyChecker = None,
    backend: Backend = None,
    option: Options = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Save a contact sheet of the layers, a PNG.", metavar="PNG")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there already.")] = False,
    as_json: Json = False,
) -> None:
    """Split one picture into its layers."""
    from bridge.command.interrupt import run
    from bridge.command.pipes import STANDARD, layers_file, picture_file
    from bridge.command.sources import check_readable
    from bridge.command.split import Order
    from bridge.command.split import split as split_one
    from bridge.files.save import check_sheet, check_target, format_of

    piped = output == STANDARD
    if piped and as_json:
        raise BadSettings("Layers and JSON cannot both go to standard output.", "Leave one of them out.")
    asked = {
        "num_layers": layers,
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "seed": seed,
        "acceleration": acceleration,
        "enable_safety_checker": safety_checker,
    }
    with layers_file(output) as saved, picture_file(picture) as source:
        target = Path(saved)
        kind = format_of(target, folder=output.endswith(("/", "\\")))
        check_target(target, picture, force=force)
        if sheet:
            check_sheet(sheet, picture, target, force=force)
        check_readable(source)
        order = Order(source, target, kind, asked, backend, option or (), sheet)
        outcome = run(lambda interrupt: split_one(order, interrupt))
    if as_json:
        _print_json({"picture": str(picture), "output": output, **outcome.as_dict()})
    else:
        lines = outcome.lines("standard output" if piped else output)
        print(*lines, sep="\n", file=sys.stderr if piped else sys.stdout)


@app.command()
def batch(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", readable=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the results.", metavar="DIR")],
    format: Annotated[str, typer.Option(help="ora, psd or png (a folder for each).", metavar="ora|psd|png")] = "ora",
    layers: Layers = None,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    seed: Seed = None,
    acceleration: Acceleration = None,
    safety_checker: SafetyChecker = None,
    backend: Backend = None,
    option: Options = None,
    workers: Annotated[int | None, typer.Option(help="Pictures at once; by itself, as many as help.", min=1)] = None,
) -> None:
    """Split many pictures. Run again, it goes on where it stopped; the exit code is 1 if any picture failed."""
    from bridge.command.batch import Batch, format_named, run_batch
    from bridge.command.interrupt import run
    from bridge.command.show import BatchView
    from bridge.command.sources import find_pictures
    from bridge.command.wanted import wanted

    kind = format_named(format)
    asked = {
        "num_layers": layers,
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": steps,
        "guidance_scale": guidance_scale,
        "seed": seed,
        "acceleration": acceleration,
        "enable_safety_checker": safety_checker,
    }
    how = Batch(output, kind, wanted(asked, backend, option or []), workers)
    found, view = find_pictures(pictures, output), BatchView()
    if not run(lambda interrupt: run_batch(found, how, view, interrupt)):
        raise Cancelled("Stopped. Run the same command again to go on.")
    if view.failed:
        raise typer.Exit(1)


@app.command()
def serve(
    idle_minutes: Annotated[float, typer.Option(help="End after so long without work; 0 for never.", min=0)] = 60,
    keep_days: Annotated[float, typer.Option(help="How long results are kept.", min=0)] = 7,
    fal: Annotated[bool, typer.Option("--fal", help="Open fal's API too, for its own clients: see fal-env.")] = False,
    fal_port: Annotated[int, typer.Option(help="The API's port; by itself, any.", min=0, max=65_535)] = 0,
    backend: Annotated[str | None, typer.Option(help="Who splits what the API is sent.", metavar="NAME")] = None,
    option: Options = None,
) -> None:
    """Run the bridge here. Krita starts it by itself where it may; a Flatpak's Krita may not."""
    from bridge.client import open_fal_api
    from bridge.connection_file import data_dir
    from bridge.server.daemon import FalOptions
    from bridge.server.daemon import serve as run

    if not fal and (fal_port or backend or option):
        raise BadSettings("“--fal-port”, “--backend” and “--option” are for the API that “--fal” opens.", "Add --fal.")
    own: dict[str, Any] = {}
    if option:
        from bridge.command.wanted import options_of  # it loads what checks them

        own = options_of(backend, option)
    told = open_fal_api(data_dir(), port=fal_port, backend=backend, options=own) if fal else None
    if told is not None:
        print(f"The bridge is already running. fal's API is open at {told['url']}.")
        return
    idle = idle_minutes * 60 if idle_minutes else float("inf")
    options = FalOptions(fal_port, backend, own) if fal else None
    raise typer.Exit(run(data_dir(), idle_exit=idle, keep_days=keep_days, fal=options))


@app.command()
def stop() -> None:
    """Stop the bridge that runs in the background. Krita starts a new one when it needs it."""
    from bridge.client import stop as stop_running
    from bridge.connection_file import data_dir

    print("stopped" if stop_running(data_dir()) else "not running")


@app.command()
def status(as_json: Json = False) -> None:
    """Say whether the bridge runs, and what it does. The exit code is 1 if it does not run."""
    from bridge.client import status as ask
    from bridge.command.status import described
    from bridge.connection_file import data_dir

    told = ask(data_dir())
    if as_json:
        _print_json({"running": told is not None, **(told or {})})
    else:
        print(described(told))
    if told is None:
        raise typer.Exit(1)


@app.command("set")
def set_preference(
    name: Annotated[str | None, typer.Argument(help="What to set; without it, all are listed.")] = None,
    value: Annotated[str | None, typer.Argument(help="What it shall be; “” sets it back.")] = None,
) -> None:
    """Decide something for this computer: “set remote-allowed yes”, “set backend NAME”. Alone, it lists what is set."""
    from bridge.backends import preferences

    if name is None:
        decided = preferences.read()
    elif value is None:
        raise BadSettings(f"It is not said what “{name}” shall be.", f"Write “unflatten set {name} VALUE”.")
    else:
        decided = preferences.change(name, value)
    for each, now in preferences.listed(decided).items():
        if name in (None, each):
            print(f"{each} {_worded(now)}")


@key_app.command("set")
def set_key(service: Service) -> None:
    """Keep a key: typed without being shown, or read from a pipe."""
    from getpass import getpass

    from bridge import keys

    credential = keys.credential_of(service)
    keys.keep(credential, getpass(f"Key for {service}: ") if sys.stdin.isatty() else sys.stdin.readline())
    print(f"The key for {service} is in the keyring.")


@key_app.command("forget")
def forget_key(service: Service) -> None:
    """Take a key out of the keyring."""
    from bridge import keys

    gone = keys.forget(keys.credential_of(service))
    print(f"The key for {service} is forgotten." if gone else f"There was no key for {service} in the keyring.")


@key_app.command("show")
def show_key(service: Service) -> None:
    """Say whether there is a key, and where; never the key itself. The exit code is 1 if there is none."""
    from bridge import keys

    key = keys.find(keys.credential_of(service))
    print(f"There is a key for {service} {key.where}." if key else f"There is no key for {service}.")
    if key is None:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and where things are."""
    from bridge.command.doctor import examine, report

    found = examine()
    if as_json:
        _print_json(found.as_dict())
    else:
        print(report(found))
    if not found.healthy:
        raise typer.Exit(1)


@app.command("fal-env", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def fal_env(
    command: Annotated[
        list[str] | None, typer.Argument(help="What to run, after “--”.", metavar="[-- COMMAND…]")
    ] = None,
    shell: Annotated[str | None, typer.Option(help="Print for sh, fish, powershell or cmd.", metavar="NAME")] = None,
) -> None:
    """Let fal's own clients in a command speak with this computer. Without one, print what a shell needs for it."""
    from bridge.client import ensure_fal_api
    from bridge.command.fal_env import printed, run, variables
    from bridge.connection_file import data_dir

    if command:
        raise typer.Exit(run(command, data_dir()))
    print(printed(variables(ensure_fal_api(data_dir()), os.environ), shell))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"unflatten {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Takes a flat picture apart into named layers."""


def main() -> None:
    """The command `unflatten`. Every error ends here, as a sentence and what to do next."""
    # A stream may be closed (“>&-”); a layer's name may hold any letter, a terminal may not: better a ? than no result.
    sys.stdout = _writable(sys.stdout)
    sys.stderr = _writable(sys.stderr)
    try:
        try:
            app()
        except SystemExit:
            sys.stdout.flush()
            raise
    except Cancelled as problem:
        print(f"{problem.message} {problem.hint}".strip(), file=sys.stderr)
        sys.exit(INTERRUPTED)
    except UnflattenError as problem:
        if "--json" in sys.argv:
            told = {"code": problem.code, "message": problem.message, "hint": problem.hint}
            _print_json({"error": {**told, "retryable": problem.retryable}})
        print(f"{problem.message}\n{problem.hint}".strip(), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Broken off.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has gone (“| head”): nothing to say, and nobody to say it to.
        sys.stderr.close()
        sys.exit(1)
    except OSError as problem:
        told, hint = "Something could not be read or written", "Run “unflatten doctor”."
        if problem.filename:
            told, hint = f"{problem.filename} could not be used", "Look at its name and its permissions."
        elif _raised_here(problem):
            told, hint = "The work is done, but standard output takes nothing", "Send it somewhere else."
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python shall not try again at its end
        print(f"{told}: {problem.strerror or problem}.\n{hint}", file=sys.stderr)
        sys.exit(1)


def _writable(stream: TextIO | None) -> TextIO:
    """The stream, or, where it is closed, one that takes everything and shows nothing."""
    if stream is None:
        return open(os.devnull, "w")
    stream.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    return stream


def _raised_here(error: BaseException) -> bool:
    """Whether `error` came of a line of this file itself, which only prints, and of nothing that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == __file__


def _worded(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "–"


def _print_json(told: dict[str, Any]) -> None:
    print(json.dumps(told, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
