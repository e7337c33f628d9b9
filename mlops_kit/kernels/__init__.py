"""Start kernels with everything imported, by forking one process: the zygote."""
