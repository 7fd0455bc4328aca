"""Where weights are looked for, and what is said when they are nowhere."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxshard_core.errors import InputError, WeightsError
from fluxshard_core.models import download
from fluxshard_core.models.catalog import model_names
from fluxshard_core.models.quiet_import import import_ultralytics
from fluxshard_core.models.weights import find_weights


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without weights, an empty cache, no network."""
    home = tmp_path / "home"
    (home / "weights").mkdir(parents=True)
    monkeypatch.setenv("FLUXSHARD_HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    return home


@pytest.fixture
def silent_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A proxy that accepts connections and never answers, in place of the internet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for variable in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, address)
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv("YOLO_OFFLINE")
        yield


def test_home_is_searched_for_safetensors_first_then_pt(empty_machine: Path) -> None:
    pt = empty_machine / "weights/yolo11n.pt"
    pt.touch()
    assert find_weights("yolo11n") == pt
    safetensors = empty_machine / "weights/yolo11n.safetensors"
    safetensors.touch()
    assert find_weights("yolo11n") == safetensors


def test_a_downloaded_file_is_found_again(tmp_path: Path) -> None:
    cached = tmp_path / "cache/fluxshard/weights/yolo11s-pose.pt"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert find_weights("yolo11s-pose") == cached


def test_ultralytics_offers_every_model_of_the_catalogue() -> None:
    offered = import_ultralytics("ultralytics.utils.downloads").GITHUB_ASSETS_NAMES
    assert {f"{name}.pt" for name in model_names()} <= set(offered)


@pytest.mark.parametrize("kind", [str, Path])
def test_an_explicit_path_is_taken_as_it_is(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.touch()
    assert find_weights(kind(path)) == path


def test_the_error_lists_every_place_and_what_to_do(empty_machine: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_weights("yolo11m-seg")
    message = str(caught.value)
    for expected in (
        f"{empty_machine}/weights/yolo11m-seg.safetensors: no such file",
        f"{empty_machine}/weights/yolo11m-seg.pt: no such file",
        f"{tmp_path}/cache/fluxshard/weights/yolo11m-seg.pt: no such file",
        "github.com/ultralytics/assets",
        "YOLO_OFFLINE is set",
        "Put yolo11m-seg.pt",
    ):
        assert expected in message


def test_an_unset_home_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXSHARD_HOME")
    with pytest.raises(WeightsError, match="FLUXSHARD_HOME is not set"):
        find_weights("yolo11n")


def test_a_missing_path_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nowhere\.pt: no such file$"):
        find_weights(str(tmp_path / "nowhere.pt"))


def test_another_file_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "yolo11n.onnx"
    path.touch()
    with pytest.raises(WeightsError, match=r"must be a \.safetensors or \.pt file"):
        find_weights(path)


def test_an_unknown_name_is_an_input_error() -> None:
    with pytest.raises(InputError, match="did you mean"):
        find_weights("yolo12n")


def test_a_silent_network_is_given_up_in_time(
    silent_proxy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"did not answer within 0\.5 s|cannot be reached"):
        find_weights("yolo11n")
    assert time.monotonic() - start < 5.0


def test_a_stalled_download_is_killed_and_leaves_nothing(
    silent_proxy: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_unreachable", lambda: None)
    monkeypatch.setattr(download, "DOWNLOAD_SECONDS", 1.0)
    with pytest.raises(WeightsError, match="not finished after 1 s"):
        find_weights("yolo11n")
    assert list((tmp_path / "cache").rglob("*yolo*")) == []
    assert list((tmp_path / "cache/fluxshard/weights").iterdir()) == []


def test_a_failed_download_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
    monkeypatch.setattr(download, "_unreachable", lambda: None)
    with pytest.raises(WeightsError, match=r"download of yolo11n\.pt from .*: .*Download failure"):
        find_weights("yolo11n")
    assert list((tmp_path / "cache/fluxshard/weights").iterdir()) == []
