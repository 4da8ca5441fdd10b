"""A modern Hopfield network of constant depth, to be trained."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ConstantDepth"]


class _Layer(nn.Module):
    """The tokens retrieve from themselves, then a perceptron is applied to each; both add to the token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_hop, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, tokens: torch.Tensor, causal: bool) -> torch.Tensor:
        query, key, value = self.project(self.before_hop(tokens)).chunk(3, -1)
        hop = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        tokens = tokens + hop
        return tokens + self.mlp(self.before_mlp(tokens))  # type: ignore[no-any-return]


class ConstantDepth(nn.Module):
    """As many layers for every size of the input, and answers read off every token or off their mean.

    Args:
        features: of a token.
        tokens: the most tokens; each position has a vector of its own.
        width: of the network.
        layers: its depth.
        parts: of an answer.
        classes: of a part.
        causal: whether a token sees only those before it, and has an answer of its own.
    """

    def __init__(
        self, features: int, tokens: int, width: int, layers: int, parts: int, classes: int, causal: bool
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        self.position = nn.Parameter(torch.randn(tokens, width) * width**-0.5)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, parts * classes))
        self.parts, self.classes, self.causal = parts, classes, causal

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores ``[instances, answers, parts, classes]`` of ``[instances, tokens, features]``."""
        state = self.embed(tokens) + self.position
        for layer in self.layers:
            state = layer(state, self.causal)
        if not self.causal:
            state = state.mean(1, keepdim=True)
        scores: torch.Tensor = self.read(state)
        return scores.reshape(*scores.shape[:-1], self.parts, self.classes)
