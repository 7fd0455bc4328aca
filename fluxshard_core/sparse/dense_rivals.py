"""Dense runtimes besides PyTorch that the executor benchmark compares with where installed."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

_OPSET = 17


def dense_rivals(
    network: nn.Module, frame: torch.Tensor, dtype: torch.dtype, threads: int
) -> dict[str, Callable[[], object]]:
    """Return a call per installed runtime that runs ``network`` whole on ``frame``.

    ``frame`` ``(1, C, H, W)`` float32. OpenVINO computes in ``dtype``; ONNX Runtime has no bfloat16
    on a CPU and is left out there. Both are in the extra ``bench``.
    """
    builders = {"onnxruntime": _onnx_runtime, "openvino": _openvino}
    if dtype != torch.float32:
        del builders["onnxruntime"]
    return {
        name: build(network, frame, dtype, threads)
        for name, build in builders.items()
        if all(importlib.util.find_spec(module) for module in _needs(name))
    }


def _needs(name: str) -> tuple[str, ...]:
    return ("onnx", "onnxruntime") if name == "onnxruntime" else (name,)


def _onnx_runtime(
    network: nn.Module, frame: torch.Tensor, dtype: torch.dtype, threads: int
) -> Callable[[], object]:
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that wait in a loop would slow down whatever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "network.onnx")
        with warnings.catch_warnings():  # the exporter that needs no further package is the old one
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.onnx.export(network, (frame,), path, dynamo=False, opset_version=_OPSET)
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: frame.contiguous().numpy()}
    return lambda: session.run(None, feed)


def _openvino(
    network: nn.Module, frame: torch.Tensor, dtype: torch.dtype, threads: int
) -> Callable[[], object]:
    openvino: Any = importlib.import_module("openvino")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32" if dtype == torch.float32 else "bf16",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    model = openvino.convert_model(network, example_input=frame)
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    image = frame.contiguous().numpy()
    return lambda: compiled(image)
