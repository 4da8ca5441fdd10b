"""Arrays in JSON, without loss: few numbers for the eye, many for the wire."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["READABLE", "array_from_json", "array_to_json"]

# Numbers up to which each is written as a hexadecimal float.
READABLE = 64
# Little-endian on every machine.
DTYPES = {"float64": "<f8", "bool": "?"}


def array_to_json(array: NDArray[Any]) -> dict[str, Any]:
    """An array of numbers or bools as JSON-ready data.

    >>> array_to_json(np.array([[1.0, 0.5]]))
    {'shape': [1, 2], 'float64': ['0x1.0000000000000p+0', '0x1.0000000000000p-1']}
    >>> array_to_json(np.zeros(65))["float64"][:12]
    'AAAAAAAAAAAA'
    """
    name = "bool" if array.dtype == np.bool_ else "float64"
    flat = np.ascontiguousarray(array, dtype=DTYPES[name]).ravel()
    entries: Any
    if flat.size > READABLE:
        entries = base64.b64encode(flat.tobytes()).decode("ascii")
    else:
        entries = flat.tolist() if name == "bool" else [float(x).hex() for x in flat]
    return {"shape": list(array.shape), name: entries}


def array_from_json(data: dict[str, Any]) -> NDArray[Any]:
    """The array of which :func:`array_to_json` made ``data``, which fits the schema.

    Raises:
        ValueError: if the number of entries is not that of the shape.
    """
    ((name, entries),) = ((key, value) for key, value in data.items() if key != "shape")
    flat: NDArray[Any]
    if isinstance(entries, str):
        flat = np.frombuffer(base64.b64decode(entries, validate=True), dtype=DTYPES[name])
    else:
        flat = np.array([float.fromhex(x) if isinstance(x, str) else x for x in entries], dtype=name)
    if flat.size != math.prod(data["shape"]):
        raise ValueError(f"{flat.size} entries for shape {data['shape']}")
    return flat.astype(name).reshape(data["shape"])
