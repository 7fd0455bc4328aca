"""The dense model as one object: preprocess, infer, decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fluxshard_core.errors import InputError
from fluxshard_core.models.candidates import Offset
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.checkpoint import read_checkpoint
from fluxshard_core.models.decode import decode
from fluxshard_core.models.detections import Detections, UInt8
from fluxshard_core.models.head_layout import HeadLayout
from fluxshard_core.models.letterbox import INPUT_MULTIPLE, Letterbox
from fluxshard_core.models.loading import load_checkpoint, random_model
from fluxshard_core.models.network import Network, network_input
from fluxshard_core.models.weights import find_weights
from fluxshard_core.threads import computing

DEFAULT_CONFIDENCE = 0.25
DEFAULT_IOU = 0.7  # ultralytics' predict default


@dataclass(frozen=True)
class Detector:
    """A loaded model. Holds no state between frames, so threads may share it.

    ``names`` are the class names by class id, ``model_hash`` is 64 hex digits that two detectors
    share exactly when architecture and weights are the same, ``weights`` says where those came
    from, ``input_size`` ``(height, width)`` is the letterbox target or ``None`` for the image's
    own size.
    """

    name: ModelName
    names: tuple[str, ...]
    network: Network
    model_hash: str
    weights: str
    input_size: tuple[int, int] | None = None

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        input_size: tuple[int, int] | None = None,
        random_seed: int | None = None,
        threads: int | None = None,
    ) -> Detector:
        """Load a model by catalogue name or by path to a ``.pt`` or ``.safetensors`` file.

        With ``random_seed`` the named model gets seeded random weights and no file is read.
        ``threads`` sets torch's thread count, for the whole process.

        :raises WeightsError: if the weights cannot be found, read or matched.
        :raises InputError: for an unknown name, bad input size or thread count.
        """
        if input_size is not None:
            Letterbox.fit(*input_size, input_size)
        if threads is not None:
            if threads < 1:
                raise InputError(f"threads must be at least 1, not {threads}")
            torch.set_num_threads(threads)
        # Batch norms are folded into convolutions by sums whose order follows the thread count, but
        # robots and clouds of any size must compute with the same weights, to the bit.
        with computing(1):
            if random_seed is not None:
                source = f"random, seed {random_seed}"
                loaded = random_model(ModelName.parse(str(name_or_path)), random_seed)
            else:
                path = find_weights(name_or_path)
                source = str(path)
                loaded = load_checkpoint(read_checkpoint(path), source)
        return cls(
            name=loaded.name,
            names=loaded.class_names,
            network=loaded.network,
            model_hash=loaded.hash,
            weights=source,
            input_size=input_size,
        )

    @property
    def layout(self) -> HeadLayout:
        """What the tensors that :meth:`infer` returns are."""
        return self.network.layout

    def preprocess(self, rgb: UInt8) -> tuple[UInt8, Letterbox]:
        """Letterbox a ``(H, W, 3)`` uint8 RGB image to the network's input.

        :raises InputError: if ``rgb`` is not such an image.
        """
        if rgb.ndim != 3:
            raise InputError(f"image has shape {rgb.shape}, expected (height, width, 3)")
        letterbox = Letterbox.fit(rgb.shape[0], rgb.shape[1], self.input_size)
        return letterbox.apply(rgb), letterbox

    @torch.inference_mode()
    def infer(self, image: UInt8) -> tuple[Tensor, ...]:
        """Run the network on a letterboxed ``(H, W, 3)`` uint8 image; see :attr:`layout`.

        :raises InputError: if the image is not uint8 with sides that are multiples of 32.
        """
        if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3:
            raise InputError(f"input is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        if image.shape[0] % INPUT_MULTIPLE or image.shape[1] % INPUT_MULTIPLE or not image.size:
            raise InputError(
                f"input is {image.shape[0]}x{image.shape[1]}, expected multiples of "
                f"{INPUT_MULTIPLE}: letterbox it first"
            )
        outputs: tuple[Tensor, ...] = self.network(network_input(image))
        return outputs

    def decode(
        self,
        outputs: tuple[Tensor, ...],
        letterbox: Letterbox,
        *,
        confidence: float = DEFAULT_CONFIDENCE,
        iou: float = DEFAULT_IOU,
        offsets: Sequence[Offset | None] | None = None,
    ) -> Detections:
        """Turn outputs into detections in original pixels; see :func:`decode.decode`."""
        return decode(
            outputs, self.layout, letterbox, confidence=confidence, iou=iou, offsets=offsets
        )

    def detect(
        self, rgb: UInt8, *, confidence: float = DEFAULT_CONFIDENCE, iou: float = DEFAULT_IOU
    ) -> Detections:
        """Preprocess, infer and decode one ``(H, W, 3)`` uint8 RGB image."""
        image, letterbox = self.preprocess(rgb)
        return self.decode(self.infer(image), letterbox, confidence=confidence, iou=iou)
