"""Import ultralytics without its side effects on the process and the user's files."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType

import cv2
import numpy as np
import torch

_LOCK = threading.Lock()

# Read by ultralytics while it is imported, and by nothing of ours.
_IMPORT_ENVIRONMENT = {
    "YOLO_OFFLINE": "true",  # else a DNS query, which may hang
    "YOLO_VERBOSE": "false",  # else log lines on stdout
    "YOLO_AUTOINSTALL": "false",  # else pip may run
}


def import_ultralytics(module: str) -> ModuleType:
    """Import ``module`` of ultralytics: no print, no network, no settings file left behind.

    The first import of ultralytics sets thread counts, print options, environment variables and
    ``torch.save`` for the whole process; all but torch's print width are put back.
    """
    with _LOCK:
        if "ultralytics" in sys.modules:
            return importlib.import_module(module)
        with _sealed_process():
            return importlib.import_module(module)


@contextlib.contextmanager
def _sealed_process() -> Iterator[None]:
    environment = dict(os.environ)
    print_options = np.get_printoptions()
    cv2_threads = cv2.getNumThreads()
    torch_save = torch.save
    with tempfile.TemporaryDirectory(prefix="fluxshard-") as directory:
        os.environ.update(_IMPORT_ENVIRONMENT, YOLO_CONFIG_DIR=directory)
        try:
            with warnings.catch_warnings():
                yield
        finally:
            for name in set(os.environ) - set(environment):
                del os.environ[name]
            os.environ.update(environment)
            np.set_printoptions(**print_options)
            cv2.setNumThreads(cv2_threads)
            torch.save = torch_save
