"""The errors FluxShard raises on purpose: each says what was wrong and what to do."""


class FluxShardError(Exception):
    """Base of every error a caller may want to catch and show as one line."""


class InputError(FluxShardError, ValueError):
    """A frame, file, message or argument that cannot be used as it is."""


class WeightsError(FluxShardError):
    """Weights that cannot be found, read or matched to the model."""
