"""``hopspec depth``: networks of constant depth, trained on problems that are thought too hard for them.

An illustration of chapter 19, and no proof of anything: see :mod:`~hopspec.properties.depth.experiment`.
"""
