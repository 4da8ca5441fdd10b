"""Properties that decide whether an implementation computes what the specification says.

In tests, :func:`assert_within` compares with a proved tolerance; ``hopspec verify`` runs every property.
"""

from typing import TYPE_CHECKING

__all__ = ["Undecided", "assert_within", "retrieval_problem"]

if TYPE_CHECKING:
    from hopspec.properties.assertion import Undecided, assert_within, retrieval_problem
else:
    # Processes that only run an implementation start sooner without the reference.
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'hopspec.properties' has no attribute {name!r}")
        from hopspec.properties import assertion  # noqa: PLC0415

        return getattr(assertion, name)
