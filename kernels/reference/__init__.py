"""Plain PyTorch versions of each operation: slow, obviously right, what the fast ones match."""
