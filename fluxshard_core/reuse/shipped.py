"""The calibrated profiles that come with FluxShard, found by the hash of the weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, TypeAlias

from fluxshard_core.reuse.profile import ReuseProfile

SHIPPED: Final = "shipped"
NONE: Final = "none"
PROFILES: Final = Path(__file__).parent / "profiles"
"""Their folder; a file is named after its model and the first ``HASH_DIGITS`` of its hash."""
HASH_DIGITS: Final = 12
_REMEMBERED = 16

ProfileChoice: TypeAlias = ReuseProfile | Literal["shipped"] | None
"""A profile, the one that comes with FluxShard if there is one for the model, or none."""


def file_name(model: str, model_hash: str) -> str:
    """Return what the file of a model's profile is called."""
    return f"{model}-{model_hash[:HASH_DIGITS]}.yaml"


@lru_cache(maxsize=_REMEMBERED)
def shipped_profile(model: str, model_hash: str) -> ReuseProfile | None:
    """Return the profile that comes with FluxShard for these very weights, None without one.

    :raises InputError: if its file is damaged.
    """
    file = PROFILES / file_name(model, model_hash)
    if not file.is_file():
        return None
    profile = ReuseProfile.load(file)
    return profile if profile.model_hash == model_hash else None


def profile_choice(text: str) -> ProfileChoice:
    """Return what a setting asks for: nothing or ``shipped``, ``none``, or a file to load.

    :raises InputError: for a file that is not a profile.
    """
    if text in ("", SHIPPED):
        return SHIPPED
    return None if text == NONE else ReuseProfile.load(Path(text))
