"""The recipes, by what goes wrong. Importing this package registers them all."""

from hopspec.properties.vectors.recipes import (
    arithmetic,
    energies,
    extremes,
    masks,
    nonfinite,
    softmax,
    tiles,
)

__all__ = ["arithmetic", "energies", "extremes", "masks", "nonfinite", "softmax", "tiles"]
