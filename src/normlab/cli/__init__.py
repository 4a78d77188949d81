"""The command line. Each command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

import io
import sys

import typer

from normlab.cli.catalogs import list_, show_model, show_study
from normlab.cli.check import check_norm
from normlab.cli.claims import claims
from normlab.cli.studies import plan, report, run, status
from normlab.cli.trust import trust
from normlab.errors import UserError
from normlab.text import shown

app = typer.Typer(
    help="Controlled studies of normalization and regularization in image classification.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
check = typer.Typer(help="Check one thing against its definition.", no_args_is_help=True)
show = typer.Typer(help="Show one thing in detail.", no_args_is_help=True)
app.command("list")(list_)
app.command()(plan)
app.command()(run)
app.command()(status)
app.command()(report)
app.command()(claims)
app.command()(trust)
app.add_typer(check, name="check")
check.command("norm")(check_norm)
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
    """Entry point: a user's mistake is one message and exit code 2, Ctrl-C is 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a label no terminal of this kind can show
    try:
        app()
    except UserError as error:
        sys.stderr.write(f"normlab: {shown(str(error), lines=True)}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing to say
        sys.exit(1)
