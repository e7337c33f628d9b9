"""Kernels that start with everything imported: forks of one process, the zygote."""
