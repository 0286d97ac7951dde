"""The ``fxcarry`` command. Thin: it reads arguments, calls the library, and shows what came back.

Nothing heavy is imported before a command runs, so ``fxcarry --help`` answers at once.
"""

from __future__ import annotations

import os
import sys

import click

from fxcarry import __version__
from fxcarry.cli.alerting import alerts
from fxcarry.cli.checking import lookahead, stress, warmup
from fxcarry.cli.conforming import conformance
from fxcarry.cli.data import data
from fxcarry.cli.extending import plugins
from fxcarry.cli.golive import check
from fxcarry.cli.looking import carry, roll
from fxcarry.cli.operating import export, financing, flatten, parity, pause, reduce, resume, run, status
from fxcarry.cli.planning import apply, plan
from fxcarry.cli.running import backtest
from fxcarry.cli.setting import config, init
from fxcarry.cli.walking import walkforward
from fxcarry.errors import FxCarryError


class _Commands(click.Group):
    """The built-in commands; those of plugins are looked up only when one is asked for."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None:
            from fxcarry import plugins

            for add in plugins.load().commands:
                add(self)
            command = super().get_command(ctx, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fxcarry")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """FX carry, the same way in a backtest, on paper and live - and where the money came from.

    Start with `fxcarry backtest`: it needs no key and no account. Commands of plugins are listed by `fxcarry plugins`.
    """
    ctx.obj = debug


def main(args: list[str] | None = None) -> None:
    """Run the command; an error is a line on standard error and an exit code, not a traceback."""
    arguments = sys.argv[1:] if args is None else args
    try:
        code = cli.main(arguments, prog_name="fxcarry", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        _fail("interrupted", "nothing half-written is left behind", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FxCarryError as error:
        if "--debug" in arguments:
            raise
        _fail(error.message, error.hint, error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", "nothing half-written is left behind", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # a bug, here or in a plugin or strategy
        if "--debug" in arguments:
            raise
        _fail(f"{type(error).__name__}: {error}", "this is a bug; fxcarry --debug … shows where", 1)


def _fail(message: str, hint: str, code: int) -> None:
    click.echo(f"error: {message}", err=True)
    if hint:
        click.echo(f"  hint: {hint}", err=True)
    sys.exit(code)


for _command in (
    *(backtest, walkforward, lookahead, warmup, stress, carry, roll, plugins, conformance, init, config, data),
    *(run, status, financing, plan, apply, pause, reduce, resume, flatten, parity, export, check, alerts),
):
    cli.add_command(_command)
