"""The entry point `setpoint`: a table of verbs that are imported when they are called, and errors as exit codes.

`setpoint --help` imports click and nothing else. Exit codes: 0 done or yes, 1 the answer is no, 2 usage or configuration, 3 still waiting,
4 not allowed or not logged in, 5 something could not be reached, 101 a bug in Setpoint, 130 interrupted.
"""

import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

import setpoint

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS: Final[dict[str, tuple[str, str, str]]] = {
    "init": ("setpoint.cli.init", "command", "Create or register repositories; --example makes a working pair."),
    "check": ("setpoint.cli.check", "command", "Check every file of a repository; all findings at once."),
    "run": ("setpoint.cli.run", "command", "Run a pipeline here, in the same sandbox, without a server."),
    "up": ("setpoint.cli.up", "command", "Start the server of a home."),
    "down": ("setpoint.cli.down", "command", "Stop the server of a home and everything it runs."),
    "status": ("setpoint.cli.status", "command", "Show what runs where, how it is, and what waits."),
    "runs": ("setpoint.cli.runs", "command", "List the runs of pipelines."),
    "watch": ("setpoint.cli.watch", "command", "Follow a run; the exit code is its result."),
    "cancel": ("setpoint.cli.cancel", "command", "Stop a run, or one task of it."),
    "retry": ("setpoint.cli.retry", "command", "Run what is not green in a run again."),
    "resolve": ("setpoint.cli.resolve", "command", "Say what became of a task that was lost."),
    "log": ("setpoint.cli.log", "command", "Print or follow the log of a task."),
    "why": ("setpoint.cli.why", "command", "Explain why something is, or is not, in an environment."),
    "plan": ("setpoint.cli.plan", "command", "Show what the next promotion would change, field by field."),
    "promote": ("setpoint.cli.promote", "command", "Ask for a candidate in an environment."),
    "approve": ("setpoint.cli.approve", "command", "Approve a promotion."),
    "rollback": ("setpoint.cli.rollback", "command", "Take an environment back to what ran before."),
    "quarantine": ("setpoint.cli.quarantine", "command", "Bar a candidate or a digest from an environment."),
    "hold": ("setpoint.cli.hold", "command", "Stop new versions from getting into an environment."),
    "release": ("setpoint.cli.release", "command", "End a hold."),
    "break-glass": ("setpoint.cli.break_glass", "command", "Let people change what is live for a while, and bring nothing back."),
    "rollout": ("setpoint.cli.rollout", "command", "Show or follow a rollout; go on from a held canary, or send it back."),
    "diff": ("setpoint.cli.diff", "command", "Compare what is pinned with what runs."),
    "drift": ("setpoint.cli.drift", "command", "Show what changed behind Setpoint's back, and what was done."),
    "heal": ("setpoint.cli.heal", "command", "Bring back what drifted and is left alone."),
    "adopt": ("setpoint.cli.adopt", "command", "Write what drifted into Git, on a branch."),
    "prune": ("setpoint.cli.prune", "command", "Remove what waits for a person's word before it is removed."),
    "gc": ("setpoint.cli.gc", "command", "Delete what nothing needs any more, or show what that is."),
    "verify": ("setpoint.cli.verify", "command", "Check signatures and evidence, rule by rule."),
    "evidence": ("setpoint.cli.evidence", "command", "List the signed evidence of a thing, or export it for offline use."),
    "trace": ("setpoint.cli.trace", "command", "Follow a URL, replica, pod, digest or commit through its whole journey."),
    "events": ("setpoint.cli.events", "command", "Print the journal: who did what, and when."),
    "secret": ("setpoint.cli.secret", "command", "Set, list and remove the secrets that tasks are given."),
    "secret-key": ("setpoint.cli.secret_key", "command", "Print what Secrets in Git are encrypted to, and how."),
    "registry": ("setpoint.cli.registry", "command", "Log in to other registries, for bases and for copies."),
    "cluster": ("setpoint.cli.cluster", "command", "Register the Kubernetes clusters that environments may name."),
    "generator": ("setpoint.cli.generator", "command", "Show what is made of folders and clusters, also before it is merged."),
    "preview": ("setpoint.cli.preview", "command", "Show the environments of branches; extend one, or end it."),
    "token": ("setpoint.cli.token", "command", "Create, list and revoke tokens."),
    "doctor": ("setpoint.cli.doctor", "command", "Check machine, home and server; each line with a fix."),
    "explain": ("setpoint.cli.explain", "command", "Explain the code of an error or a reason."),
    "completion": ("setpoint.cli.completion", "command", "Print the completion script of a shell."),
}
"""verb -> module, the click command in it, and its line in the help."""

_OPTIONAL_VALUE: Final = {"--wait": ("--wait=10m", re.compile(r"(\d+[dhms])+"))}
"""Options that may stand alone: what they mean then, and what a value looks like. click would take the next word, whatever it is."""


class Verbs(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the verbs in the order of the road, not of the alphabet."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a verb's module and return its command."""
        if cmd_name not in VERBS:
            return None
        module, name, _ = VERBS[cmd_name]
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the verbs' lines from the table."""
        with formatter.section("Verbs"):
            formatter.write_dl([(verb, line) for verb, (_, _, line) in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Offer the verbs from the table and the group's options; click would import every verb's module."""
        from click.shell_completion import CompletionItem

        verbs = [CompletionItem(verb, help=line) for verb, (_, _, line) in VERBS.items() if verb.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; whoever closed our output (`| head`) has seen enough, which is no failure (click would exit with 1)."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _forget_output()
            return 0

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, suggest the nearest one when there is none, and give lone optional-value options their value."""
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:
            from setpoint.core.suggest import help_text

            ctx.fail(f"there is no verb `{args[0]}`; {help_text(args[0], VERBS, 'verbs')}")
        return super().resolve_command(ctx, _complete(args))


def _complete(args: list[str]) -> list[str]:
    """Return args with a lone `--wait` written out."""
    done: list[str] = []
    for position, word in enumerate(args):
        if word == "--":
            return done + args[position:]
        meaning, value = _OPTIONAL_VALUE.get(word, (word, None))
        following = args[position + 1] if position + 1 < len(args) else ""
        done.append(word if value is not None and value.fullmatch(following) else meaning)
    return done


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(setpoint.__version__, prog_name="setpoint")
def cli() -> None:
    """Setpoint: software delivery as one control system over change.

    Every verb has --help; those that answer have --json. The server is found by --server and --token, SETPOINT_URL and SETPOINT_TOKEN, or
    the home's running server.
    """


def main() -> NoReturn:
    """Run the command line of this process and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors are printed, never raised."""
    as_json = "--json" in (arguments[: arguments.index("--")] if "--" in arguments else arguments)
    try:
        code: Any = cli.main(list(arguments), prog_name="setpoint", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        return _usage(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        _forget_output()
        return 0
    except Exception as error:  # noqa: BLE001 - the one place where everything ends
        return _failed(error, as_json=as_json)
    return code if isinstance(code, int) and not isinstance(code, bool) else 0


def _forget_output() -> None:
    """Point standard output away, so that the interpreter's last flush does not complain of the closed pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _usage(error: click.UsageError, *, as_json: bool) -> int:
    if as_json:
        from setpoint.cli.output import print_json

        print_json({"code": "SP850", "detail": error.format_message(), "exit": 2})
    else:
        error.show()
    return 2


def _failed(error: Exception, *, as_json: bool) -> int:
    """Print an error and return its exit code."""
    from setpoint.cli.output import AnswerNo, StillWaiting, exit_code, print_json, problem_of
    from setpoint.core.errors import BugError, SetpointError

    if isinstance(error, AnswerNo | StillWaiting):
        if str(error) and not as_json:
            click.echo(str(error), err=True)
        return 3 if isinstance(error, StillWaiting) else 1
    if isinstance(error, click.ClickException):
        error = SetpointError("SP850", error.format_message())
    if not isinstance(error, SetpointError):
        if os.environ.get("SETPOINT_DEBUG"):
            import traceback

            traceback.print_exception(error)
        fix = "this is a bug in Setpoint; SETPOINT_DEBUG=1 shows the traceback to report"
        error = BugError("SP859", f"{type(error).__name__}: {error}", fix=fix)
    code = exit_code(error)
    if as_json:
        print_json({**problem_of(error), "exit": code})
    else:
        click.echo(error.render(), err=True)
    return code


if __name__ == "__main__":
    main()
