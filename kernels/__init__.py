"""Plain references and fast kernels, one operation a file; imports nothing of FluxShard."""
