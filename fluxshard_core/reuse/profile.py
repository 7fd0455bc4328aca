"""ReuseProfile: calibrated policies by how much the scene moves, saved as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.calibration import CurvePoint, Found, Measured
from fluxshard_core.reuse.config import ReuseConfig

VERSION: Final = 2
SMOOTHING: Final = 0.1
"""Share of a frame in the observed motion: about ten frames count."""


@dataclass(frozen=True)
class MotionBin:
    """What was found for scenes whose motion lies from ``above`` pixels a frame on, up to the next
    bin: on which ``sequences``, and all that was tried."""

    above: float
    sequences: tuple[str, ...]
    found: Found


@dataclass(frozen=True)
class ReuseProfile:
    """One model's calibrated policies.

    ``size`` is the height and width of the input they were made at, ``budget`` the share of the
    dense accuracy they may lose, ``command`` how they were made and ``code`` by which state of the
    program; ``bins`` by rising motion, the first from 0 on.
    """

    model: str
    model_hash: str
    size: tuple[int, int]
    budget: float
    seed: int
    command: str
    code: str
    bins: tuple[MotionBin, ...]

    def __post_init__(self) -> None:
        """Refuse bins that leave a motion without a policy."""
        edges = [one.above for one in self.bins]
        if not edges or edges[0] != 0 or sorted(set(edges)) != edges:
            raise InputError(f"bins of a profile must rise from 0, not {edges}")

    def config_for(self, motion: float) -> ReuseConfig:
        """Return the policy for a motion in pixels a frame."""
        return [one for one in self.bins if one.above <= motion or one.above == 0][-1].found.config

    def check_model(self, name: str, model_hash: str) -> None:
        """Raise ``InputError`` unless the profile was made for these very weights."""
        if model_hash != self.model_hash:
            raise InputError(
                f"the profile was calibrated for {self.model} ({self.model_hash}), but the model "
                f"is {name} ({model_hash}): calibrate it with `fluxshard calibrate`"
            )

    def save(self, file: Path) -> None:
        """Write the profile as YAML."""
        data = {"version": VERSION, **_plain(self)}
        file.write_text(yaml.safe_dump(data, sort_keys=False, width=100), encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> ReuseProfile:
        """Read a profile.

        :raises InputError: if there is none, or not one of this version.
        """
        try:
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"cannot read the reuse profile {file}: {error}") from error
        if not isinstance(data, dict) or data.get("version") != VERSION:
            found = data.get("version") if isinstance(data, dict) else None
            raise InputError(
                f"{file} is not a reuse profile of version {VERSION} but of {found}: make one "
                "with `fluxshard calibrate`"
            )
        try:
            return _profile(data)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file} is a damaged reuse profile: {error!r}") from error


class MotionIntensity:
    """How much the scene has been moving: the smoothed median length of the vectors, in pixels."""

    def __init__(self) -> None:
        self.value = 0.0
        self._known = False

    def observe(self, motion: MotionField) -> float:
        """Take in the motion since the frame before; a field without a vector says nothing."""
        if motion.valid.any():
            step = SMOOTHING if self._known else 1.0
            self.value += step * (motion.median_length() - self.value)
            self._known = True
        return self.value


def _plain(profile: ReuseProfile) -> dict[str, Any]:
    data = {name: getattr(profile, name) for name in ("model", "model_hash", "budget", "seed")}
    return data | {
        "size": list(profile.size),
        "command": profile.command,
        "code": profile.code,
        "bins": [
            {
                "above": one.above,
                "sequences": list(one.sequences),
                "config": asdict(one.found.config),
                "measured": asdict(one.found.measured),
                "curve": [
                    {
                        "changes": _changes(one.found.config, point.config),
                        **asdict(point.measured),
                        "chosen": point.chosen,
                    }
                    for point in one.found.curve
                ],
            }
            for one in profile.bins
        ],
    }


def _changes(base: ReuseConfig, other: ReuseConfig) -> dict[str, float]:
    """What a tried policy has other than the one found."""
    pairs = {name: (getattr(base, name), getattr(other, name)) for name in _names()}
    return {name: value for name, (mine, value) in pairs.items() if mine != value}


def _names() -> list[str]:
    return [one.name for one in fields(ReuseConfig)]


def _profile(data: Mapping[str, Any]) -> ReuseProfile:
    height, width = (int(side) for side in data["size"])
    return ReuseProfile(
        model=str(data["model"]),
        model_hash=str(data["model_hash"]),
        size=(height, width),
        budget=float(data["budget"]),
        seed=int(data["seed"]),
        command=str(data["command"]),
        code=str(data["code"]),
        bins=tuple(_bin(one) for one in data["bins"]),
    )


def _bin(data: Mapping[str, Any]) -> MotionBin:
    config = ReuseConfig(**data["config"])
    curve = tuple(
        CurvePoint(
            ReuseConfig(**(data["config"] | point["changes"])),
            _measured(point),
            bool(point["chosen"]),
        )
        for point in data["curve"]
    )
    found = Found(config, _measured(data["measured"]), curve)
    return MotionBin(float(data["above"]), tuple(data["sequences"]), found)


def _measured(data: Mapping[str, Any]) -> Measured:
    return Measured(*(float(data[one.name]) for one in fields(Measured)))
