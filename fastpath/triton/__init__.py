"""Kernels for GPUs, in Triton: update with log-normalizer, in one part or in several, and settling.

Nothing here imports Triton before a kernel is asked for, and the fast path asks only for tensors on a GPU,
or in the implementations of :mod:`hopspec.fastpath.triton.interpreted`, which run on a CPU and serve
verification. What is computed, and in which order, is told in ``docs/gpu-kernels.md``.
"""
