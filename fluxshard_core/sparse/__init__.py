"""Running a network on only the active tiles."""
