"""Compiled kernels for the CPU: C++ that is built where it runs, once."""
