"""The implementations nobody here wrote: what they are, what they need and what they promise.

Nothing here imports them.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

__all__ = ["LEFT_OUT", "THIRD_PARTIES", "ThirdParty", "missing", "third_party", "versions"]

PACKAGE = "hopspec.properties.adapters"


@dataclass(frozen=True)
class ThirdParty:
    """One implementation and how it is asked.

    Args:
        name: name on the command line.
        what: what it is, in a line.
        target: module and attribute of its descriptor in this package.
        distributions: what it is installed from, by the names pip knows.
        modules: what must be importable.
        extra: the extra of hopspec that installs it.
        promises: what its documentation says of the numbers and of the inputs.
        asked: how the adapter calls it, where that is not evident.
        known: what is known of it beside the clauses.
        compiled: whether it compiles for each shape, and is asked a list of shapes.
    """

    name: str
    what: str
    target: str
    distributions: tuple[str, ...]
    modules: tuple[str, ...]
    extra: str
    promises: str
    asked: str = ""
    known: str = ""
    compiled: bool = False

    @property
    def path(self) -> str:
        """Import path of its descriptor."""
        return f"{PACKAGE}.{self.target}"


_SDPA = (
    "Attention with any scale; masks of bools, True where a key takes part, or of numbers that are "
    "added; is_causal aligned top-left; fewer key heads with enable_gqa; halves computed in float32"
    " by the math kernel. Outputs of different kernels may differ by rounding."
)
_TRANSFORMERS = (
    "Attention with the layer's scaling and an added mask; models run in float32, bfloat16 and float16."
)
_X_TRANSFORMERS = (
    "Attention with a scale and a mask of bools, True where a key takes part. Nothing on dtypes."
)
_ONNX = "Attention with a positive scale, in the types the operator lists for CPUs."

THIRD_PARTIES: tuple[ThirdParty, ...] = (
    ThirdParty(
        name="sdpa-math",
        what="scaled_dot_product_attention of PyTorch, math kernel",
        target="sdpa:MATH",
        distributions=("torch",),
        modules=("torch",),
        extra="fast",
        promises=_SDPA,
        asked="Forced by sdpa_kernel; an error unless that kernel ran.",
    ),
    ThirdParty(
        name="sdpa-flash",
        what="scaled_dot_product_attention of PyTorch, flash kernel for CPUs",
        target="sdpa:FLASH",
        distributions=("torch",),
        modules=("torch",),
        extra="fast",
        promises=_SDPA,
        asked=(
            "Forced by sdpa_kernel; an error unless that kernel ran. It takes values as wide as keys "
            "and contiguous rows only."
        ),
    ),
    ThirdParty(
        name="multihead-attention",
        what="torch.nn.MultiheadAttention, and the weights it returns",
        target="multihead:MULTIHEAD",
        distributions=("torch",),
        modules=("torch",),
        extra="fast",
        promises=(
            "Attention scaled by the root of the width between projections; masks of bools, True where "
            "a key takes no part, or of numbers that are added; the weights on request."
        ),
        asked=(
            "One head, identity projections; those of queries and keys carry beta times the root of the"
            " width, rounded to the dtype, which the model any-* allows for."
        ),
    ),
    ThirdParty(
        name="flex-attention",
        compiled=True,
        what="FlexAttention of PyTorch, compiled for CPUs",
        target="flex:FLEX",
        distributions=("torch",),
        modules=("torch",),
        extra="fast",
        promises=(
            "Attention whose scores a function may change, in float32, bfloat16 and float16 on CPUs, "
            "inference only."
        ),
        asked=(
            "A list of shapes, each compiled once; the scale is a tensor that the score function "
            "multiplies by; falling back to the uncompiled function is an error. Needs a C++ compiler, "
            "and --timeout 300 the first time."
        ),
    ),
    ThirdParty(
        name="jax-dpa",
        compiled=True,
        what="jax.nn.dot_product_attention, XLA for CPUs",
        target="jax_nn:JAX",
        distributions=("jax", "jaxlib"),
        modules=("jax",),
        extra="third-jax",
        promises=(
            "Attention with any scale and a mask of bools; the output has the shape of the query. Nothing on "
            "dtypes; its source names an algorithm for bfloat16."
        ),
        asked=(
            "Under jax.jit, a list of shapes. float64 is not judged, for the softmax is taken in float32; "
            "neither is float16, which does not compile for CPUs."
        ),
        known=(
            "In bfloat16 under jax.jit, shapes of which two of L, N and d are 1 raise INVALID_ARGUMENT "
            "(Algorithm not supported by the ElementalIrEmitter); the list has none."
        ),
    ),
    ThirdParty(
        name="jax-dpa-residual",
        compiled=True,
        what="jax.nn.dot_product_attention with its log-normalizer (return_residual=True)",
        target="jax_nn:RESIDUAL",
        distributions=("jax", "jaxlib"),
        modules=("jax",),
        extra="third-jax",
        promises="Output and logsumexp, as FlashAttention-2 defines it.",
        asked="As jax-dpa, in float32.",
    ),
    ThirdParty(
        name="keras",
        what="keras.layers.Attention on the PyTorch backend, and the scores it returns",
        target="keras_attention:KERAS",
        distributions=("keras", "torch"),
        modules=("keras", "torch"),
        extra="third-keras",
        promises=(
            "Dot-product attention with a scalar scale as a weight; the dtype given to a layer is that "
            "of its computations and weights, float64 among them."
        ),
        asked=(
            "use_scale=True, the weight set to beta, the layer's dtype that of the inputs. Masks are "
            "not claimed: the layer takes one for all queries."
        ),
        known="float64 in layers on the PyTorch backend is keras-team/keras issue 23704.",
    ),
    ThirdParty(
        name="onnxruntime",
        what="ONNX Attention (opset 23) in ONNX Runtime's CPU provider",
        target="onnx_runtime:ATTENTION",
        distributions=("onnxruntime", "onnx"),
        modules=("onnxruntime", "onnx"),
        extra="third-onnxruntime",
        promises=_ONNX + " Masks of bools, True where a key takes part.",
        asked="A model of one node per scale, run by one thread; the scale is a float32 attribute.",
    ),
    ThirdParty(
        name="onnxruntime-multihead",
        what="MultiHeadAttention of com.microsoft in ONNX Runtime's CPU provider",
        target="onnx_runtime:MULTIHEAD",
        distributions=("onnxruntime", "onnx"),
        modules=("onnxruntime", "onnx"),
        extra="third-onnxruntime",
        promises=_ONNX,
        known="A scale of 0 is read as none given, and 1 / sqrt(d) is taken; the other operator refuses it.",
        asked="As above, one head.",
    ),
    ThirdParty(
        name="transformers-eager",
        what="eager_attention_forward of transformers, Llama's",
        target="transformers_attention:EAGER",
        distributions=("transformers", "torch"),
        modules=("transformers", "torch"),
        extra="third-transformers",
        promises=_TRANSFORMERS,
        asked="A mask of bools becomes the dtype's least number, as the library's own masks have it.",
    ),
    ThirdParty(
        name="transformers-sdpa",
        what="sdpa_attention_forward of transformers",
        target="transformers_attention:SDPA",
        distributions=("transformers", "torch"),
        modules=("transformers", "torch"),
        extra="third-transformers",
        promises=_TRANSFORMERS,
    ),
    ThirdParty(
        name="x-transformers",
        what="Attend of x-transformers",
        target="x_transformers_attend:EINSUM",
        distributions=("x-transformers", "torch"),
        modules=("x_transformers", "torch"),
        extra="third-x-transformers",
        promises=_X_TRANSFORMERS,
        asked=(
            "A layer per call, made with scale=beta. float64 is not claimed, for the softmax is taken "
            "in float32."
        ),
    ),
    ThirdParty(
        name="x-transformers-flash",
        what="Attend of x-transformers with flash=True",
        target="x_transformers_attend:FLASH",
        distributions=("x-transformers", "torch"),
        modules=("x_transformers", "torch"),
        extra="third-x-transformers",
        promises=_X_TRANSFORMERS,
        asked=(
            "As above. The queries are multiplied by beta times the root of the width, which SDPA "
            "divides by again."
        ),
        known=(
            "The product of beta, the root of the width and a query is formed in the dtype of the query. "
            "In float16 it overflows beyond 65,504: the result is 0 or NaN, that of flash=False is right."
        ),
    ),
    ThirdParty(
        name="mhn-ai-agent-memory",
        what="ModernHopfieldNetwork of mhn-ai-agent-memory: retrieve and energy",
        target="hopfield_memory:MEMORY",
        distributions=("mhn-ai-agent-memory",),
        modules=("hopfield_memory",),
        extra="third-hopfield",
        promises=(
            "The update of Ramsauer et al., num_steps times, its weights, and the energy without constants."
        ),
        asked=(
            "adaptive_beta=False; num_steps=0 is not asked, for it raises an UnboundLocalError; "
            "log(N)/beta + M^2/2 is added to the energy, which rounds once."
        ),
    ),
    ThirdParty(
        name="qriton-hopfield-anomaly",
        what="ContinuousHopfieldNetwork of qriton-hopfield-anomaly: attention and energy",
        target="hopfield_anomaly:ANOMALY",
        distributions=("qriton-hopfield-anomaly",),
        modules=("hopfield_anomaly",),
        extra="third-hopfield",
        promises="Attention weights and the log-sum-exp energy without constants; patterns in [-1, 1].",
        asked=(
            "Restored by from_dict, which takes any pattern. It descends in small steps and has no "
            "update: here that is the sum of the patterns by its weights, added exactly. Constants as "
            "above."
        ),
    ),
    ThirdParty(
        name="difflayers",
        what="Hopfield of difflayers, the layer of hopfield-layers",
        target="diff_layers:HOPFIELD",
        distributions=("difflayers", "torch"),
        modules=("difflayers", "torch"),
        extra="third-hopfield",
        promises=(
            "The association softmax(beta Q K^T) V, update_steps_max further updates, masks of bools "
            "(True where a pattern takes no part), the association matrix."
        ),
        asked=(
            "All patterns static, no normalization, no projection, one head, the least positive "
            "update_steps_eps. No updates at all are not asked."
        ),
    ),
)

LEFT_OUT = {
    "entmax 1.3": (
        "alpha = 1 would be softmax, but its documentation says that the algorithm does not work there."
    ),
    "hopfield4py 0.1.0": "a binary network with Hebbian weights on TensorFlow; it has no softmax update.",
    "hypercube-hopfield 1.0.3": (
        "each component attends to its own neighbourhood, itself excluded: another update by design, "
        "and its documentation says so."
    ),
    "bbhamux 0.2.0": "energies could be built from its parts, but it asks for JAX below 0.5.",
    "qriton-hlm 0.13.0": "polynomial energies, not the log-sum-exp.",
}
"""Packages of a similar name that compute something else, and why they are not judged."""


def third_party(name: str) -> ThirdParty | None:
    """The third party of this name or path, if there is one.

    >>> third_party("sdpa-math").extra
    'fast'
    """
    return next((t for t in THIRD_PARTIES if name in (t.name, t.path)), None)


def missing(third: ThirdParty) -> str:
    """What must be installed first and how, or "" if it is there.

    >>> missing(third_party("sdpa-math"))
    ''
    """
    lacking = [m for m in third.modules if importlib.util.find_spec(m) is None]
    if not lacking:
        return ""
    verb = "is" if len(lacking) == 1 else "are"
    return (
        f"{third.name} needs {' and '.join(lacking)}, which {verb} not installed: "
        f"pip install 'hopspec[{third.extra}]'"
    )


def versions(third: ThirdParty) -> dict[str, str]:
    """Installed versions of its distributions."""
    return {d: metadata.version(d) for d in third.distributions}
