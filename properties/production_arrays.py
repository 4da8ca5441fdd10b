"""Arrays that cross a process boundary as the name of a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Filed", "filed"]


@dataclass(frozen=True)
class Filed:
    """Stands for an array in a call; the other process maps the file and copies nothing through the pipe.

    Args:
        path: a ``.npy`` file.
        shape: the array's shape.
        dtype: what it is read as: bool, or float64 whatever the file holds.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The array, read when it is needed."""
        return np.array(np.load(self.path, mmap_mode="r"), dtype=dtype or self.dtype)


def filed(array: NDArray[Any], folder: Path, name: str) -> Filed:
    """Write an array to ``folder``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stand_in = filed(np.arange(3.0), Path(folder), "query")
    ...     np.asarray(stand_in)
    array([0., 1., 2.])
    """
    path = folder / f"{name}.npy"
    np.save(path, array)
    return Filed(path, array.shape, np.dtype(np.bool_ if array.dtype == np.bool_ else np.float64))
