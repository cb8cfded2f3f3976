"""The verb `completion`: prints the script that lets a shell complete verbs, options, applications and environments."""

import click

_SHELLS = ("bash", "zsh", "fish")
_HOWTO = {
    "bash": 'eval "$(setpoint completion bash)"        # in ~/.bashrc',
    "zsh": 'eval "$(setpoint completion zsh)"         # in ~/.zshrc, after compinit',
    "fish": "setpoint completion fish | source         # in ~/.config/fish/config.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def command(shell: str) -> None:
    """Print the completion script of a SHELL.

    Example, in ~/.bashrc: eval "$(setpoint completion bash)"
    """
    from click.shell_completion import get_completion_class

    from setpoint.cli.main import cli

    found = get_completion_class(shell)
    if found is None:  # the choice above lets only click's own shells through; this is for the type checker
        raise click.UsageError(f"no completion for {shell}")
    made = found(cli, {}, "setpoint", "_SETPOINT_COMPLETE")
    # Not made.source(): for bash that would start a bash to look at its version.
    click.echo(f"{(made.source_template % made.source_vars()).strip()}\n# {_HOWTO[shell]}")
