"""Modern Hopfield networks: what they compute, to the last bit, and a fast path shown to agree.

The functions below run on PyTorch tensors and come from :mod:`hopspec.fastpath`, which is loaded when one of
them is first used: ``import hopspec`` and :mod:`hopspec.reference` need no PyTorch.

==================  ==========================================================  ==============
name                what it computes                                            clause
==================  ==========================================================  ==============
`retrieve`          the update, applied ``steps`` times                         MHN-UPD-3
`association`       the weights of the memories                                 MHN-UPD-2
`log_normalizer`    natural logarithm of the sum of the exponentiated logits    MHN-LSE-1
`energy`            the energy that the update decreases                        MHN-ENE-1
`evaluate`          update, log-normalizer and energy in one pass               MHN-ENE-7
`settle`            updates until the state of each query stops moving          MHN-SET-1
`certify`           proofs that a fixed point is near, and whether it attracts  MHN-FIX-10
`Memory`            a prepared memory, accepted wherever a tensor is            MHN-DOM-10
==================  ==========================================================  ==============
"""

from typing import TYPE_CHECKING

__all__ = [
    "AccuracyModel",
    "Capabilities",
    "Certificate",
    "Construction",
    "Evaluated",
    "Exact",
    "Format",
    "Implementation",
    "Memory",
    "PBit",
    "PBits",
    "Precision",
    "Proof",
    "Settled",
    "Status",
    "Summation",
    "Update",
    "__version__",
    "association",
    "certify",
    "energy",
    "evaluate",
    "log_normalizer",
    "retrieve",
    "settle",
]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hopspec.fastpath import (
        Memory,
        association,
        certify,
        energy,
        evaluate,
        log_normalizer,
        retrieve,
        settle,
    )
    from hopspec.formats import Format
    from hopspec.pbit import PBit, PBits
    from hopspec.precision import Precision
    from hopspec.types import (
        AccuracyModel,
        Capabilities,
        Certificate,
        Construction,
        Evaluated,
        Exact,
        Implementation,
        Proof,
        Settled,
        Status,
        Summation,
        Update,
    )
else:
    # Type checkers must not see this `__getattr__`: with it, every misspelt name would have a type.
    import importlib

    # Everything is loaded when it is first used: pytest imports this package at every start of its own.
    _HOMES = {
        "hopspec.fastpath": (
            "Memory",
            "association",
            "certify",
            "energy",
            "evaluate",
            "log_normalizer",
            "retrieve",
            "settle",
        ),
        "hopspec.formats": ("Format",),
        "hopspec.pbit": ("PBit", "PBits"),
        "hopspec.precision": ("Precision",),
        "hopspec.types": (
            "AccuracyModel",
            "Capabilities",
            "Certificate",
            "Construction",
            "Evaluated",
            "Exact",
            "Implementation",
            "Proof",
            "Settled",
            "Status",
            "Summation",
            "Update",
        ),
    }

    def __getattr__(name):
        if f"hopspec.{name}" in _HOMES:
            return importlib.import_module(f"hopspec.{name}")
        home = next((home for home, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'hopspec' has no attribute {name!r}")
        try:
            module = importlib.import_module(home)
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ImportError(
                f"hopspec.{name} needs PyTorch, which is not installed; run: pip install 'hopspec[fast]'",
                name="torch",
            ) from error
        value = getattr(module, name)
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "importlib"})
