"""The `fluxshard` command: finds its subcommands in the entry points `fluxshard.commands`."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points

import click

from fluxshard_core import __version__
from fluxshard_core.errors import FluxShardError

GROUP = "fluxshard.commands"


class CommandGroup(click.Group):
    """Subcommands by entry point, imported when called, so that `--help` stays fast.

    Packages that need ROS add theirs the same way; the core itself never imports them by name.
    """

    def _found(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._found())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._found().get(cmd_name)
        if entry is None:
            return None
        try:
            command = entry.load()
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"`fluxshard {cmd_name}` needs the Python package {error.name!r}, which is not "
                "installed here (commands that use ROS need a sourced ROS 2 or `make setup`)"
            ) from error
        if not isinstance(command, click.Command):
            raise click.ClickException(f"entry point {entry.value!r} is not a command")
        return command


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fluxshard")
def cli() -> None:
    """Motion-aware, cached, edge-cloud vision for robots."""


def main() -> None:
    """Run the command line; an error made on purpose is one line on stderr and exit status 1."""
    try:
        cli.main(standalone_mode=True, prog_name="fluxshard")
    except FluxShardError as error:
        click.echo(f"fluxshard: {error}", err=True)
        sys.exit(1)
