"""Commands of `fluxshard`, one a file, loaded by name only when called."""
