"""Weight files: what is read from them, and what is refused."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fluxshard_core.errors import WeightsError
from fluxshard_core.models.architecture import build_model, fuse_model
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.checkpoint import read_checkpoint
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.network import Network, network_input
from fluxshard_core.models.quiet_import import import_ultralytics

IMAGE = np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """An un-fused yolo11n-seg of three classes whose BatchNorm statistics are not trivial."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = build_model(ModelName.parse("yolo11n-seg"), 3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    model.names = {0: "cart", 1: "pallet", 2: "person"}  # type: ignore[assignment]
    return model


@pytest.fixture(scope="module")
def expected(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    """The outputs of the trained model, fused by ultralytics itself."""
    copy = build_model(ModelName.parse("yolo11n-seg"), 3)
    copy.load_state_dict(trained.state_dict())
    with torch.inference_mode():
        return list(Network(fuse_model(copy))(network_input(IMAGE)))


def assert_same_outputs(detector: Detector, expected: list[torch.Tensor], error: float) -> None:
    for actual, wanted in zip(detector.infer(IMAGE), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=error, atol=error)


def save_with_ultralytics(model: nn.Module, path: Path) -> None:
    """What ``YOLO(...).save()`` does: the pickled module itself, in half precision."""
    engine = import_ultralytics("ultralytics.engine.model").Model
    holder = engine.__new__(engine)
    nn.Module.__init__(holder)
    holder.model, holder.ckpt = model, {"epoch": -1, "train_args": {"imgsz": 640}}
    holder.save(path)


def test_a_pt_file_saved_by_ultralytics_loads_with_its_classes(
    trained: nn.Module, expected: list[torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "best.pt"
    trained.yaml["yaml_file"] = "/home/someone/yolo11-seg.yaml"  # type: ignore[index,operator,assignment]
    save_with_ultralytics(trained, path)
    detector = Detector.load(path)
    assert str(detector.name) == "yolo11n-seg"
    assert detector.names == ("cart", "pallet", "person")
    assert_same_outputs(detector, expected, error=2e-2)  # the file holds half precision


def test_a_fused_pt_file_loads_too(
    trained: nn.Module, expected: list[torch.Tensor], tmp_path: Path
) -> None:
    model = build_model(ModelName.parse("yolo11n-seg"), 3)
    model.load_state_dict(trained.state_dict())
    path = tmp_path / "yolo11n-seg.pt"
    save_with_ultralytics(fuse_model(model), path)
    assert_same_outputs(Detector.load(path), expected, error=2e-2)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "with BatchNorm"])
def test_a_state_dict_loads_from_safetensors(
    fused: bool, trained: nn.Module, expected: list[torch.Tensor], tmp_path: Path
) -> None:
    model = build_model(ModelName.parse("yolo11n-seg"), 3)
    model.load_state_dict(trained.state_dict())
    path = tmp_path / "renamed.safetensors"
    metadata = {"architecture": "yolo11n-seg", "names": json.dumps(["a", "b", "c"])}
    save_file((fuse_model(model) if fused else model).state_dict(), path, metadata)
    detector = Detector.load(path)
    assert detector.names == ("a", "b", "c")
    assert_same_outputs(detector, expected, error=1e-6)


def test_a_plain_state_dict_in_a_pt_file_takes_its_model_from_the_file_name(
    trained: nn.Module, expected: list[torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "yolo11n-seg.pt"
    torch.save(trained.state_dict(), path)
    assert_same_outputs(Detector.load(path), expected, error=1e-6)


class Malicious:
    """Creates a file when unpickled by a loader that runs code."""

    def __init__(self, evidence: Path) -> None:
        self.evidence = evidence

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.evidence),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, evidence = tmp_path / "yolo11n.pt", tmp_path / "ran"
    torch.save({"model": Malicious(evidence)}, path)
    with pytest.raises(WeightsError, match=r"refused: it refers to posix\.mkdir.*run code"):
        read_checkpoint(path)
    assert not evidence.exists()


def test_known_classes_are_not_constructed_even_if_the_program_allows_them(tmp_path: Path) -> None:
    path = tmp_path / "yolo11n.pt"
    torch.save({"model": nn.Conv2d(1, 1, 1)}, path)
    with torch.serialization.safe_globals([nn.Conv2d]):
        allowed = set(torch.serialization.get_safe_globals())
        with pytest.raises(WeightsError, match="no detection head"):
            Detector.load(path)
        assert set(torch.serialization.get_safe_globals()) == allowed


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", pickle.dumps({"model": 1})],
    ids=["empty", "text", "bare pickle"],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_damaged_file_is_one_clear_error(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"yolo11n{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"yolo11n.* cannot be read as"):
        read_checkpoint(path)


def test_a_truncated_checkpoint_is_one_clear_error(trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "yolo11n-seg.pt"
    torch.save(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:200_000])
    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(path)


def test_weights_of_another_model_name_the_first_mismatches(
    trained: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "yolo11s-seg.safetensors"
    save_file(trained.state_dict(), path)
    with pytest.raises(
        WeightsError,
        match=r"do not fit .* as yolo11s-seg: model\.0\.conv\.weight is float \(16, 3, 3, 3\), "
        r"expected float \(32, 3, 3, 3\);.* more$",
    ):
        Detector.load(path)


def test_a_missing_tensor_is_named(trained: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "yolo11n-seg.safetensors"
    tensors = trained.state_dict()
    del tensors["model.3.conv.weight"]
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r"missing model\.3\.conv\.weight$"):
        Detector.load(path)


def test_a_file_that_does_not_say_its_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="does not say which model it is"):
        read_checkpoint(path)


@pytest.mark.weights
def test_the_hash_follows_architecture_and_weights(weights_directory: Path, tmp_path: Path) -> None:
    original = weights_directory / "yolo11n.safetensors"
    checkpoint = read_checkpoint(original)
    changed = {key: value.clone() for key, value in checkpoint.tensors.items()}
    changed["model.0.conv.bias"][0] += 1
    save_file(changed, tmp_path / "yolo11n.safetensors")
    (tmp_path / "copy").mkdir()
    save_file(checkpoint.tensors, tmp_path / "copy/yolo11n.safetensors")
    hashes = [
        Detector.load(path).model_hash
        for path in (
            original,
            tmp_path / "copy/yolo11n.safetensors",
            tmp_path / "yolo11n.safetensors",
        )
    ]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len(hashes[0]) == 64
