"""Calls told together with what happens around them: another call, a changed array, one array given twice.

A story runs where the implementation runs, because it is about arrays and not about their entries.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

__all__ = ["CANNOT_BE_CHANGED", "STORIES", "tell"]

CANNOT_BE_CHANGED = "ArrayCannotBeChanged"


class ArrayCannotBeChanged(Exception):  # noqa: N818  (its name is what the answer says)
    """The array library has no way to write into an array."""


def _kept(function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """The result of the call as it is after another call of the same shapes."""
    result = function(arguments["query"], arguments["memory"], **keywords)
    function(arguments["other_query"], arguments["other_memory"], **keywords)
    return result


def _changed(function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """The result of the call after the same arrays held other entries in a call before."""
    query, memory = arguments["other_query"], arguments["other_memory"]
    function(query, memory, **keywords)
    _overwrite(query, arguments["query"])
    _overwrite(memory, arguments["memory"])
    return function(query, memory, **keywords)


def _own(function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """The result of the call as it is while its arrays hold other entries, which they do not keep."""
    query, memory = arguments["query"], arguments["memory"]
    result, before = function(query, memory, **keywords), deepcopy((query, memory))
    _overwrite(query, arguments["other_query"])
    _overwrite(memory, arguments["other_memory"])
    found = deepcopy(result)
    _overwrite(query, before[0])
    _overwrite(memory, before[1])
    return found


def _overwrite(array: Any, entries: Any) -> None:
    try:
        array[...] = entries
    except Exception as error:
        raise ArrayCannotBeChanged(str(error)) from error


def _same(function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """The result of the call in which the query is the memory array itself, or the beginning of it."""
    memory, count = arguments["memory"], arguments["query"].shape[0]
    return function(memory if count == memory.shape[0] else memory[:count], memory, **keywords)


def _rebeta(function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]) -> Any:
    """The result of the call after one on the same arrays with a slightly larger beta."""
    function(
        arguments["query"], arguments["memory"], **(keywords | {"beta": keywords["beta"] * (1 + 2.0**-9)})
    )
    return function(arguments["query"], arguments["memory"], **keywords)


STORIES: dict[str, Callable[[Callable[..., Any], dict[str, Any], dict[str, Any]], Any]] = {
    "kept": _kept,
    "changed": _changed,
    "own": _own,
    "same": _same,
    "another beta": _rebeta,
}


def tell(
    story: str, function: Callable[..., Any], arguments: dict[str, Any], keywords: dict[str, Any]
) -> Any:
    """The result of a call in a story.

    Args:
        story: a name in :data:`STORIES`.
        function: the callable under test.
        arguments: its arrays; ``other_query`` and ``other_memory`` belong to the other call, if there is one.
        keywords: its other arguments.

    >>> class Array:
    ...     shape = (1, 1)
    >>> tell("same", lambda q, m, beta: q is m, {"query": Array(), "memory": Array()}, {"beta": 1.0})
    True
    """
    others = {name: array for name, array in keywords.items() if not name.startswith("other_")}
    return STORIES[story](function, arguments, others)
