"""Test vectors: inputs, exact answers and allowed errors as bit patterns, for programs in any language.

``hopspec vectors generate`` writes them, ``hopspec vectors check`` judges the answers of a program to them.
The README beside this module describes the files and the line protocol.
"""
