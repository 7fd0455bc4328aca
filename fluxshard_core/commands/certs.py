"""`fluxshard certs`: a private CA, and certificates for the cloud and the robots of a fleet."""

from __future__ import annotations

from pathlib import Path

import click

from fluxshard_core.offload.certificates import Authority, Issued
from fluxshard_core.offload.security import SecurityError


@click.command("certs")
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files; a CA that is already there goes on signing.",
)
@click.option(
    "--cloud", "hosts", multiple=True, help="Host name or IP address robots know the cloud by."
)
@click.option("--robot", "robots", multiple=True, help="Name of a robot, its identity.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="How long the certificates are valid; the CA is for ten years.",
)
def command(out: Path, hosts: tuple[str, ...], robots: tuple[str, ...], days: int) -> None:
    """Make a CA and certificates. Nothing that exists is ever overwritten.

    Keep ca.key away from robots and from the cloud: who has it can be any robot. Copy ca.crt and
    cloud.* to the cloud; ca.crt and one robot-NAME.* to each robot (a node is a robot here: give
    each edge node a certificate of its own).
    """
    if not (hosts or robots):
        raise click.UsageError("name the cloud with --cloud, or a robot with --robot, or both")
    if len(set(robots)) != len(robots):
        raise click.UsageError("the same --robot is named twice")
    present = (out / "ca.crt").exists() or (out / "ca.key").exists()
    authority = Authority.load(out) if present else Authority.create()
    issued: dict[str, Issued] = {} if present else {"ca": authority.issued}
    if hosts:
        issued["cloud"] = authority.cloud(hosts, days)
    for robot in robots:
        issued[f"robot-{robot}"] = authority.robot(robot, days)
    _refuse_to_overwrite(out, issued)
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, one in issued.items():
        one.write(out, name)
        click.echo(f"{out / name}.crt  {out / name}.key")
    if present:
        click.echo(f"signed by the CA that was in {out}")


def _refuse_to_overwrite(out: Path, issued: dict[str, Issued]) -> None:
    files = [out / f"{name}.{kind}" for name in issued for kind in ("crt", "key")]
    existing = [str(file) for file in files if file.exists()]
    if existing:
        raise SecurityError(
            f"{', '.join(existing)} already exists: move it away, or choose another --out or name"
        )
