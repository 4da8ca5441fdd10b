"""Properties that decide whether an implementation computes what the specification says.

In tests, :func:`assert_within` compares with a proved tolerance; ``hopspec verify`` runs every property.
:func:`attention_implementation` describes an attention kernel for it.
"""

from typing import TYPE_CHECKING

__all__ = [
    "Undecided",
    "assert_within",
    "attention_capabilities",
    "attention_implementation",
    "retrieval_problem",
]

if TYPE_CHECKING:
    from hopspec.properties.assertion import Undecided, assert_within, retrieval_problem
    from hopspec.properties.forms import attention_capabilities, attention_implementation
else:
    # Processes that only run an implementation start sooner without the reference.
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'hopspec.properties' has no attribute {name!r}")
        from hopspec.properties import assertion, forms  # noqa: PLC0415

        return getattr(forms if name.startswith("attention_") else assertion, name)
