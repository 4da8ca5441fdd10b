"""Kernels that nobody here wrote, so to speak, and faults in them that are on no list.

They were written from experience of kernels, before their author had looked at the planted faults of
:mod:`hopspec.properties.faults`, to see what the suite makes of faults it was not built for. They are not
part of the package, and no property may be written for one of them: only for its class.
"""
