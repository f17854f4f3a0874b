"""The command line. Nothing heavy is imported here: `rlbench --help` must answer at once."""

import errno
import traceback
from typing import Any

import click

from rlbench.cli.algorithms import algorithms, check, lecture, new
from rlbench.cli.policies import evaluate, watch
from rlbench.cli.report import agreement, figures, report
from rlbench.cli.run import compare, run, tune
from rlbench.cli.status import plan, status
from rlbench.errors import RlbenchError, shortened
from rlbench.study.process import leave_quickly

BAD_INPUT = 2
UNEXPECTED = 1
INTERRUPTED = 130
_LONGEST = 1200  # characters of a message


class Unwritable(OSError):
    """The output cannot be written. It has no errno, since click ignores an error that says that a pipe is closed."""


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EPIPE, errno.EIO)


class Commands(click.Group):
    """Says every error in one line; `--debug` shows the traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what it raises into a message and an exit status."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else "rlbench"
            self._leave(ctx, f"error: {error.format_message()} `{command} --help` shows how.", BAD_INPUT)
        except RlbenchError as error:
            self._leave(ctx, f"error: {error}", BAD_INPUT)
        except KeyboardInterrupt as error:
            default = "Interrupted; what is stored stays, the same command continues from there."
            self._leave(ctx, str(error) or default, INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
                raise Unwritable(error.strerror) from None
            first = (str(error).splitlines() or [""])[0]
            message = f"error: unexpected {type(error).__name__}: {first} (`rlbench --debug ...` shows where)"
            self._leave(ctx, message, UNEXPECTED)

    def _leave(self, ctx: click.Context, message: str, code: int) -> None:
        if ctx.params.get("debug"):
            click.echo(traceback.format_exc().rstrip(), err=True)
        # One line that a terminal can show, whatever names and texts of a file are quoted in it.
        line = "".join(character if character.isprintable() else " " for character in " ".join(message.split()))
        click.echo(shortened(line, _LONGEST), err=True)
        ctx.exit(code)


@click.group(
    "rlbench", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="rlbench", prog_name="rlbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Compare on-policy reinforcement-learning algorithms properly: many seeds, intervals, verdicts.

    \b
    rlbench compare ppo-clip reinforce --env CartPole-v1 --seeds 10 --steps 100000
    rlbench run experiments/ppo_vs_reinforce.py
    rlbench new my-variant
    """
    ctx.obj = {"debug": debug}
    leave_quickly()


for command in (
    *(run, status, report, figures, evaluate, watch),
    *(compare, tune, plan, agreement, algorithms, check, new, lecture),
):
    main.add_command(command)
