"""Faults planted in the sources of the Triton kernels, and the runs that find them."""
