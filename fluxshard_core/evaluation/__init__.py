"""Frame sources, metrics and reports."""
