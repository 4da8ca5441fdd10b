"""Conformance tests in a project of one's own, run by pytest, and the registration of implementations."""

from typing import TYPE_CHECKING

__all__ = ["Conformance", "conformance", "implementation", "installed"]

if TYPE_CHECKING:
    from hopspec.properties.plugin.declared import Conformance, conformance
    from hopspec.properties.plugin.registration import implementation, installed
else:
    # pytest imports this package at every start, also where no conformance test is run.
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module 'hopspec.properties.plugin' has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415

        home = "registration" if name in ("implementation", "installed") else "declared"
        return getattr(import_module(f"hopspec.properties.plugin.{home}"), name)
