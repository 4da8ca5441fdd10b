"""Attention operators of ONNX Runtime's CPU provider, each as a model of one node."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from hopspec.properties.adapters.shapes import POSITIVE
from hopspec.properties.forms import attention_implementation
from hopspec.types import Capabilities, Implementation

__all__ = ["ATTENTION", "MULTIHEAD"]

ELEMENTS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16}

# The scale is a float32 attribute, and must be positive.
BETA_RANGE = (2.0**-126, 2.0**127)


@lru_cache(maxsize=256)
def session(operator: str, domain: str, element: int, rank: int, masked: bool, attributes: Any) -> Any:
    """An inference session of a single node."""
    names = ["q", "k", "v", *(["mask"] if masked else [])]
    node = helper.make_node(operator, names, ["out"], domain=domain, **dict(attributes))
    free: list[Any] = [None] * rank
    inputs = [helper.make_tensor_value_info(n, element, free) for n in "qkv"]
    if masked:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.BOOL, [None] * 4))
    graph = helper.make_graph(
        [node], "attention", inputs, [helper.make_tensor_value_info("out", element, free)]
    )
    domains = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=11)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def attention(q: Any, k: Any, v: Any, *, scale: float, attn_mask: Any = None) -> Any:
    """ONNX's own Attention, opset 23."""
    given = {"q": q, "k": k, "v": v} | ({} if attn_mask is None else {"mask": attn_mask})
    made = session("Attention", "", ELEMENTS[q.dtype], 4, attn_mask is not None, (("scale", float(scale)),))
    return made.run(None, given)[0]


def multihead(q: Any, k: Any, v: Any, *, scale: float) -> Any:
    """The operator that Microsoft's tools make of a multi-head layer; heads become items of its batch."""
    lead = q.shape[:2]
    given = {n: x.reshape(-1, *x.shape[-2:]) for n, x in (("q", q), ("k", k), ("v", v))}
    attributes = (("num_heads", 1), ("scale", float(scale)))
    out = session("MultiHeadAttention", "com.microsoft", ELEMENTS[q.dtype], 3, False, attributes)
    return out.run(None, given)[0].reshape(*lead, *q.shape[-2:-1], v.shape[-1])


def to_array(array: Any, dtype: str) -> Any:
    """A NumPy array, which is what sessions take."""
    return np.ascontiguousarray(array, dtype=dtype)


ATTENTION: Implementation[Any] = attention_implementation(
    attention,
    "onnxruntime",
    capabilities=Capabilities(
        dtypes=("float32", "float16"),
        masks=True,
        values=True,
        batch=True,
        beta_range=BETA_RANGE,
        shapes=POSITIVE,
    ),
    to_array=to_array,
    from_array=np.asarray,
)

MULTIHEAD: Implementation[Any] = attention_implementation(
    multihead,
    "onnxruntime-multihead",
    capabilities=Capabilities(
        dtypes=("float32",), values=True, batch=True, beta_range=BETA_RANGE, shapes=POSITIVE
    ),
    to_array=to_array,
    from_array=np.asarray,
)
