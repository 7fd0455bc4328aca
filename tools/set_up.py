"""Make the virtual environment that `make demo` and `make test` run in, or bring it up to date."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fluxshard_setup.environment import (
    STATE_FOLDER,
    base_python,
    discard_if_unusable,
    environment_step,
)
from fluxshard_setup.errors import SetupError
from fluxshard_setup.interfaces import interface_steps
from fluxshard_setup.packages import package_steps
from fluxshard_setup.project import project_step
from fluxshard_setup.steps import Step, pending, run_steps
from fluxshard_setup.system import check_no_other_ros, check_system

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run what is not done yet; return the exit status."""
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        set_up(options.venv.absolute(), options.torch_index)
    except SetupError as error:
        print(f"\nFluxShard set-up stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nFluxShard set-up interrupted; run it again to go on from here.", file=sys.stderr)
        return 130
    return 0


def set_up(venv: Path, torch_index: str) -> None:
    """Bring ``venv`` up to date with the checkout."""
    check_no_other_ros(ROOT, dict(os.environ))
    if discard_if_unusable(venv):
        print(f"{venv} was moved or its Python is gone: making it anew", flush=True)
    state = venv / STATE_FOLDER
    state.mkdir(parents=True, exist_ok=True)
    with _alone(state):
        steps = _steps(venv, torch_index)
        if not pending(steps, state):
            print(f"Set-up is up to date ({venv})", flush=True)
            return
        check_system(base_python(venv))
        run_steps(steps, state)


def _steps(venv: Path, torch_index: str) -> list[Step]:
    environment = environment_step(venv)
    runtime, dev = package_steps(ROOT, venv, torch_index, after=environment)
    interfaces = interface_steps(ROOT, venv, after=runtime)
    project = project_step(ROOT, venv, after=interfaces[-1])
    return [environment, runtime, *interfaces, dev, project]


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the lock that keeps two set-ups of one environment from running at once."""
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up of this environment is running; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="default: %(default)s")
    parser.add_argument(
        "--torch-index",
        default="",
        help="extra package index for PyTorch, such as the one with builds without CUDA",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
