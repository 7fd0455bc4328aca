"""Children die with their parent, even one that is gone before they have told the kernel so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from fluxshard_ros.child_processes import _die_with


@pytest.mark.parametrize("gone", [False, True])
def test_a_child_whose_parent_is_gone_already_does_not_start(gone: bool) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(30)
    parent = ended.pid if gone else os.getpid()
    child = subprocess.run(
        [sys.executable, "-c", "print('alive')"],
        preexec_fn=partial(_die_with, parent),
        capture_output=True,
        timeout=30,
        check=False,
    )
    expected = (-signal.SIGKILL, b"") if gone else (0, b"alive\n")
    assert (child.returncode, child.stdout) == expected
