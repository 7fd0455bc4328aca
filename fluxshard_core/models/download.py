"""Download pretrained weights with ultralytics' downloader, in a child process with a deadline."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

from fluxshard_core.errors import WeightsError
from fluxshard_core.models.catalog import ModelName

PROBE_SECONDS = 5.0
DOWNLOAD_SECONDS = 600.0
ASSETS_URL = "https://github.com/ultralytics/assets/releases"

_LOG = logging.getLogger(__name__)

# The downloader retries with long sleeps and waits 300 s on a stalled read, so it runs where it
# can be killed. It is given the file's name in its working directory, where it also leaves it.
_CHILD = (
    "import sys; from ultralytics.utils.downloads import attempt_download_asset; "
    "attempt_download_asset(sys.argv[1], retry=1, progress=False)"
)


def cached_weights(name: ModelName) -> Path:
    """Where a downloaded model lies: ``$XDG_CACHE_HOME/fluxshard/weights/NAME.pt``."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "fluxshard" / "weights" / f"{name}.pt"


def download_weights(name: ModelName) -> Path:
    """Download ``NAME.pt`` into the cache and return its path.

    :raises WeightsError: when offline (within seconds), or when the download fails or outlasts
        its deadline.
    """
    target = cached_weights(name)
    where = f"download of {target.name} from {ASSETS_URL}"
    if reason := _unreachable():
        raise WeightsError(f"{where}: {reason}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=target.parent) as directory:
            _LOG.info("downloading %s to %s", target.name, target.parent)
            if reason := _run_child(target.name, Path(directory)):
                raise WeightsError(f"{where}: {reason}")
            os.replace(Path(directory) / target.name, target)
    except OSError as error:
        raise WeightsError(f"{where}: {error}") from error
    return target


def _unreachable() -> str | None:
    """Why the download site cannot be reached, or ``None``; name resolution is bounded too."""
    if os.environ.get("YOLO_OFFLINE", "").strip().lower() in {"1", "true", "yes", "on"}:
        return "YOLO_OFFLINE is set"
    answers: list[str | None] = []

    def probe() -> None:
        request = urllib.request.Request(ASSETS_URL, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            answers.append(None)  # an answer is an answer: the site is there
        except (OSError, ValueError) as error:
            answers.append(f"the site cannot be reached ({error})")
        else:
            answers.append(None)

    thread = threading.Thread(target=probe, daemon=True, name="weights-probe")
    thread.start()
    thread.join(PROBE_SECONDS)
    return answers[0] if answers else f"the site did not answer within {PROBE_SECONDS:g} s"


def _run_child(file_name: str, directory: Path) -> str | None:
    """Download into ``directory``; return why it failed, or ``None``."""
    environment = os.environ | {
        "YOLO_CONFIG_DIR": str(directory),
        "YOLO_VERBOSE": "false",
        "YOLO_AUTOINSTALL": "false",
    }
    try:
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, file_name],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {DOWNLOAD_SECONDS:g} s"
    if child.returncode or not (directory / file_name).is_file():
        lines = child.stderr.strip().splitlines()
        return lines[-1] if lines else "ultralytics downloaded nothing"
    return None
