"""By what kind of argument a property convicts."""

from __future__ import annotations

from functools import lru_cache

from hopspec.clauses import load_clauses
from hopspec.properties.checks import CHECKS

__all__ = ["TIERS", "clause_of", "tier_of"]

TIERS = {
    "bound": "the error exceeds a proved bound",
    "law": "a law of the update or of the energy is broken by more than the bounds allow",
    "contract": "a promise of every call is broken: shapes, types, masks, non-finite numbers, bits, purity",
    "probe": "a constructed input whose exact answer is known gets another one",
    "statistical": "the errors of many cases are biased; the rate of false alarms is stated",
}
MODULES = {"statistics": "statistical", "probes": "probe"}
KINDS = {"BOUND": "bound", "LAW": "law", "DEF": "law", "CONTRACT": "contract"}


@lru_cache(maxsize=1)
def _by_name() -> dict[str, tuple[str, str]]:
    clauses = load_clauses()
    found = {}
    for check in CHECKS:
        module = check.judge.__module__.rpartition(".")[2]
        found[check.name] = (check.clause, MODULES.get(module) or KINDS[clauses[check.clause].kind])
    return found


def tier_of(check: str) -> str:
    """The tier of a property, a key of :data:`TIERS`.

    Args:
        check: name of the property.

    >>> tier_of("update_within_bound"), tier_of("strides_do_not_matter")
    ('bound', 'contract')
    """
    return _by_name()[check][1]


def clause_of(check: str) -> str:
    """Id of the clause that a property decides.

    >>> clause_of("update_within_bound")
    'MHN-BND-2'
    """
    return _by_name()[check][0]
