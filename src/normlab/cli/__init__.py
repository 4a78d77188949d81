"""The command line. Each command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import signal
import sys
from typing import Any

import typer

from normlab import interrupts, streams
from normlab.cli.catalogs import list_, show_model, show_study
from normlab.cli.check import check_norm
from normlab.cli.claims import claims
from normlab.cli.data import build_data
from normlab.cli.export import export
from normlab.cli.merge import export_trials, import_trials, merge
from normlab.cli.new_study import new_study
from normlab.cli.profile import profile
from normlab.cli.published import published
from normlab.cli.run import run
from normlab.cli.schema import schema
from normlab.cli.scoreboard import scoreboard
from normlab.cli.serve import serve
from normlab.cli.studies import plan, report, status, verify
from normlab.cli.trust import trust
from normlab.errors import UserError, end_word, fault_of_machine, os_words
from normlab.text import shown

app = typer.Typer(
    help="Controlled studies of normalization and regularization in image classification.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
check = typer.Typer(help="Check one thing against its definition.", no_args_is_help=True)
data = typer.Typer(help="Make data sets.", no_args_is_help=True)
show = typer.Typer(help="Show one thing in detail.", no_args_is_help=True)
app.command("list")(list_)
app.command()(plan)
app.command()(profile)
app.command()(run)
app.command()(status)
app.command()(verify)
app.command()(report)
app.command()(serve)
app.command()(claims)
app.command("new-study")(new_study)
app.command()(published)
app.command()(scoreboard)
app.command()(merge)
app.command("export-trials")(export_trials)
app.command("import-trials")(import_trials)
app.command()(export)
app.command()(trust)
app.command()(schema)
app.add_typer(check, name="check")
check.command("norm")(check_norm)
app.add_typer(data, name="data")
data.command("build")(build_data)
app.add_typer(show, name="show")
show.command("model")(show_model)
show.command("study")(show_study)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version."),
) -> None:
    if version:
        from normlab import __version__

        typer.echo(f"normlab {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Entry point: a user's mistake is one message and exit code 2, Ctrl-C is 130.

    SIGTERM and SIGHUP end what Ctrl-C ends, with 143 and 129.
    """
    streams.guard()
    before = _listen()
    try:
        code = _answer()
    finally:
        streams.back()
        for number, handler in before.items():
            signal.signal(number, handler)
    sys.exit(code)


def _answer() -> int:
    """Run the command; its exit code, with one message where it could not be done."""
    try:
        code = _run()
    except streams.OutputError as error:
        if isinstance(streams.lost(), BrokenPipeError):
            return 1  # the reader of our output left; nothing to say
        return _refuse(f"the output cannot be written: {os_words(error)}")
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as stopped:
        interrupts.forget()
        sys.stderr.write(f"{end_word(stopped)}\n")
        return 128 + getattr(stopped, "number", signal.SIGINT)
    except Exception as error:
        fault = os_words(error) if isinstance(error, OSError) else fault_of_machine(error)
        if fault is None:
            raise
        return _refuse(fault)
    return code


def _run() -> int:
    code = 0
    try:
        app()
    except SystemExit as ended:
        stopped = getattr(ended.__context__, "__cause__", None)
        if isinstance(stopped, KeyboardInterrupt):  # which Typer makes an exit without a word
            raise stopped from None
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    sys.stdout.flush()  # what cannot be written is said, not lost at the very end
    return code


def _refuse(message: str) -> int:
    sys.stderr.write(f"normlab: {shown(message, lines=True)}\n")
    return 2


def _listen() -> dict[int, Any]:
    """Have SIGINT, SIGTERM and SIGHUP end things orderly; the handlers from before.

    What is ignored already (`nohup`) stays ignored.
    """
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    usual = (signal.SIG_DFL, signal.default_int_handler)
    numbers = [getattr(signal, name) for name in names]
    before = {n: was for n in numbers if (was := signal.getsignal(n)) in usual}
    try:
        for number in before:
            signal.signal(number, interrupts.stop)
    except ValueError:  # not in the main thread
        return {}
    return before
