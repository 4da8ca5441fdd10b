"""Properties that decide whether an implementation computes what the specification says.

In tests, :func:`assert_within` compares with a proved tolerance; ``hopspec verify`` runs every property.
"""

from hopspec.properties.assertion import Undecided, assert_within, retrieval_problem

__all__ = ["Undecided", "assert_within", "retrieval_problem"]
