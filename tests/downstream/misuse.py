"""Mistakes that a type checker must report: each marked line, under the code it names, and no other line."""

import torch

import hopspec
import hopspec.reference
from hopspec import retrive  # error: [attr-defined]

query = torch.zeros(2, 3)
memory = torch.zeros(4, 3)

retrive(query, memory, beta=1.0)
hopspec.retreive(query, memory, beta=1.0)  # error: [attr-defined]
hopspec.retrieve(query, memory)  # error: [call-arg]
hopspec.retrieve(query, memory, 1.0)  # error: [call-arg]
hopspec.retrieve(query, memory, beta="1")  # error: [arg-type]
hopspec.retrieve([[0.0]], memory, beta=1.0)  # error: [arg-type]
hopspec.retrieve(query, memory, beta=1.0, mask=None)  # error: [call-arg]
hopspec.retrieve(query, memory, beta=1.0, steps=2.0)  # error: [arg-type]
hopspec.settle(query, memory, beta=1.0, eps="1e-3")  # error: [arg-type]
hopspec.settle(query, memory, beta=1.0).stat  # error: [attr-defined]
hopspec.energy(query, memory, beta=None)  # error: [arg-type]
hopspec.certify(query, memory, beta=1.0).radii  # error: [attr-defined]
hopspec.certify(query, memory, beta=1.0, eps=1e-3)  # error: [call-arg]
hopspec.Memory([[0.0]])  # error: [arg-type]
hopspec.Precision.fixed("53")  # error: [arg-type]
hopspec.Status.FAILED  # error: [attr-defined]
hopspec.reference.updat([[0.0]], [[0.0]], beta=1)  # error: [attr-defined]
hopspec.reference.update([[0.0]], [[0.0]])  # error: [call-arg]
hopspec.reference.update([[0.0]], [[0.0]], beta=1, to=b"float64")  # error: [arg-type]


def without_beta(query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """An update that takes no beta conforms to nothing."""
    return query @ memory.T @ memory


def beta_by_position(query: torch.Tensor, memory: torch.Tensor, beta: str) -> torch.Tensor:
    """An update whose beta is not a number."""
    return query @ memory.T @ memory


first: hopspec.Update[torch.Tensor] = without_beta  # error: [assignment]
second: hopspec.Update[torch.Tensor] = beta_by_position  # error: [assignment]
