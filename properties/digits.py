"""Retrieval problems on real data: the 1797 handwritten digits that scikit-learn ships."""

from __future__ import annotations

import numpy as np

from hopspec.properties.problem import Array, Problem

__all__ = ["CORRUPTIONS", "digit_problems", "load"]

CORRUPTIONS = ("pixels hidden", "noise added", "lower half cut off", "untouched")


def load() -> tuple[Array, Array]:
    """The images, ``[1797, 64]`` with integer pixels from 0 to 16, and their classes, ``[1797]``."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (half a second of imports)

    images, classes = load_digits(return_X_y=True)
    return np.asarray(images, dtype=np.float64), np.asarray(classes, dtype=np.float64)


def corrupt(images: Array, how: str, rng: np.random.Generator) -> Array:
    """The images with part of their information removed; pixels stay integers from 0 to 16."""
    damaged = images.copy()
    if how == "pixels hidden":
        damaged[rng.random(images.shape) < 0.5] = 0.0
    elif how == "noise added":
        damaged = np.clip(damaged + np.rint(3 * rng.standard_normal(images.shape)), 0, 16)
    elif how == "lower half cut off":
        damaged[:, images.shape[1] // 2 :] = 0.0
    return damaged


def digit_problems(count: int, seed: int) -> list[Problem]:
    """Problems whose memory is a set of digits and whose queries are damaged digits of that set.

    The pixels are small integers, so every problem is exact in every dtype; the inverse temperatures reach
    from a mean over many digits to the retrieval of a single one.
    """
    images, _ = load()
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        # The whole set now and then; mostly subsets, so that many problems fit the time.
        n = len(images) if k % 50 == 0 else int(rng.choice([10, 33, 64, 100, 129]))
        memory = images[rng.permutation(len(images))[:n]]
        how = CORRUPTIONS[k % len(CORRUPTIONS)]
        query = corrupt(memory[rng.integers(0, n, 2)], how, rng)
        beta = float(rng.choice([2.0**-12, 2.0**-9, 2.0**-7, 2.0**-6, 2.0**-4]))
        chosen = Problem(
            query, memory, beta, regimes=("digits", how), seed=int(rng.integers(2**31)), origin="digits"
        )
        found.append(chosen)
    return found
