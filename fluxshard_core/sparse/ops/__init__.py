"""The CPU backend: one file per operator family, plain PyTorch."""
