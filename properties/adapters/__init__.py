"""Adapters of implementations that nobody here wrote.

Each module describes one, and imports it: only :mod:`hopspec.properties.adapters.registry` is imported before
somebody asks for one. The descriptors claim what the documentation of the implementation says.
"""
