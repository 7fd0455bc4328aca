"""The parts of tools/set_up.py. Standard library only: they run before anything is installed."""
