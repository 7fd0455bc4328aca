"""The one error the set-up shows as a message instead of a traceback."""


class SetupError(Exception):
    """Something the user can act on; the message says what."""
