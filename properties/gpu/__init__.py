"""Kernels on a GPU: what they are compiled to, what they can reach, and all there is to do on one."""
