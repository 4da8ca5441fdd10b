"""Right use of every public name, with the type that each must have for a project that installs hopspec."""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import hopspec
from hopspec import reference

QUERY = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
MEMORY = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
KEEP = torch.tensor([True, True, False])


def my_update(query: Tensor, memory: Tensor, /, *, beta: float) -> Tensor:
    """An update of one's own: the least that can be verified."""
    return torch.softmax(beta * query @ memory.T, dim=-1) @ memory


class MyUpdate:
    """A callable object conforms as well as a function does."""

    def __call__(self, query: Tensor, memory: Tensor, /, *, beta: float, scale: float = 1.0) -> Tensor:
        """Return the update; a further argument with a default value does no harm."""
        return my_update(query, memory, beta=beta * scale)


def the_fast_path() -> None:
    """The functions on tensors."""
    memory = hopspec.Memory(MEMORY, values=2 * MEMORY, keep=KEEP)
    assert_type(memory, hopspec.Memory)
    assert_type(hopspec.retrieve(QUERY, MEMORY, beta=1.0), Tensor)
    assert_type(hopspec.retrieve(QUERY, MEMORY, beta=2, values=MEMORY, keep=KEEP, steps=2), Tensor)
    assert_type(hopspec.retrieve(QUERY, memory, beta=torch.tensor(2.0)), Tensor)
    assert_type(hopspec.association(QUERY, MEMORY, beta=1.0, keep=KEEP), Tensor)
    assert_type(hopspec.log_normalizer(QUERY, MEMORY, beta=1.0, keep=KEEP), Tensor)
    assert_type(hopspec.energy(QUERY, MEMORY, beta=1.0, keep=KEEP), Tensor)
    evaluated = hopspec.evaluate(QUERY, MEMORY, beta=1.0, values=2 * MEMORY, keep=KEEP)
    assert_type(evaluated, hopspec.Evaluated[Tensor])
    assert_type(evaluated.state, Tensor)
    assert_type(evaluated.log_normalizer, Tensor)
    assert_type(evaluated.energy, Tensor)
    assert_type(hopspec.evaluate(QUERY, memory, beta=torch.tensor(2.0)), hopspec.Evaluated[Tensor])
    settled = hopspec.settle(QUERY, MEMORY, beta=1.0, keep=KEEP, eps=1e-3, max_steps=10, method="picard")
    assert_type(settled, hopspec.Settled[Tensor])
    assert_type(settled.state, Tensor)
    assert_type(settled.energy, Tensor)
    assert_type(settled.residual, Tensor)
    assert_type(settled.steps, Tensor)
    assert_type(settled.status, Tensor)
    certificate = hopspec.certify(settled.state, MEMORY, beta=1.0, keep=KEEP)
    assert_type(certificate, hopspec.Certificate[Tensor])
    assert_type(certificate.certified, Tensor)
    assert_type(certificate.radius, Tensor)
    assert_type(certificate.attracts, Tensor)
    assert_type(certificate.repels, Tensor)
    assert_type(certificate.rate, Tensor)
    assert_type(certificate.proof, Tensor)
    assert_type(hopspec.certify(QUERY, memory, beta=torch.tensor(2.0)), hopspec.Certificate[Tensor])


def the_shared_types() -> None:
    """The types that every package speaks."""
    assert_type(hopspec.__version__, str)
    assert_type(hopspec.Status(0), hopspec.Status)
    assert_type(hopspec.Status(0).name, str)
    assert_type(hopspec.Proof(0), hopspec.Proof)
    single = hopspec.Format("single", 24, -126, 127)
    assert_type(single, hopspec.Format)
    assert_type(single.unit_roundoff, float)
    assert_type(hopspec.Precision.fixed(53), hopspec.Precision)
    assert_type(hopspec.Precision.polynomial(2).bits(10), int)
    assert_type(hopspec.Exact(1, 0, 53, True), hopspec.Exact)
    assert_type(hopspec.Exact(1, 0, 53, True).radius, Any)


def a_description() -> hopspec.Implementation[Tensor]:
    """An implementation of one's own and what it claims."""
    single = hopspec.Format("single", 24, -126, 127)
    model = hopspec.AccuracyModel("mine", storage=single, accumulation=single, exp_error=2.0**-22)
    assert_type(model, hopspec.AccuracyModel)
    assert_type(hopspec.Summation(lanes=16, extra=4), hopspec.Summation)
    assert_type(model.accumulation, hopspec.Format)
    capabilities = hopspec.Capabilities(dtypes=("float32",), masks=False)
    assert_type(capabilities, hopspec.Capabilities)
    assert_type(capabilities.beta_range, tuple[float, float])
    function: hopspec.Update[Tensor] = my_update
    callable_object: hopspec.Update[Tensor] = MyUpdate()
    assert isinstance(function, hopspec.Update)
    assert_type(callable_object(QUERY, MEMORY, beta=1.0), Any)
    return hopspec.Implementation("mine", my_update, capabilities=capabilities, accuracy=(model,))


def the_reference() -> None:
    """The exact functions, on anything that holds numbers."""
    query, memory = [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]
    target: reference.Target = "float32"
    assert_type(reference.update(query, memory, beta=1, to=target), list[Any])
    assert_type(reference.update(QUERY, MEMORY, beta=0.5, keep=KEEP, values=MEMORY, steps=2), list[Any])
    assert_type(reference.association(query, memory, beta=1, to=hopspec.Precision.fixed(80)), list[Any])
    assert_type(reference.log_normalizer(query, memory, beta=1, to=80), Any)
    assert_type(reference.lse(query, memory, beta=1, to=hopspec.Format("tiny", 4, -8, 7)), Any)
    assert_type(reference.energy(query, memory, beta=1), Any)
    assert_type(reference.attention(query, memory, memory, scale=1, bias=[0.5, 0.0]), list[Any])
    assert_type(reference.attention_log_normalizer(query, memory, scale=1, causal="top-left"), Any)
    assert_type(reference.causal_mask(2, 3, "bottom-right"), NDArray[np.bool_])
    assert_type(reference.trajectory(query, memory, beta=1, steps=3), list[Any])
    assert_type(reference.settle(query, memory, beta=1, eps=0, max_steps=10), hopspec.Settled[Any])
    assert_type(reference.certify(query, memory, beta=1), hopspec.Certificate[Any])
    assert_type(reference.enclosed_trajectory(query, memory, beta=1, steps=2, to=60), list[Any])
    found = reference.fixed_point(query, memory, beta=1, to=hopspec.Precision.fixed(80), max_steps=50)
    assert_type(found, reference.FixedPoint)
    assert_type(found.state, list[Any])
    prepared = reference.prepare(memory)
    assert_type(prepared, reference.Prepared)
    assert_type(reference.update(query, prepared, beta=1), list[Any])
    assert_type(reference.jacobian(query, memory, beta=1), list[Any])
    slopes = reference.gradients(query, memory, [1.0, 0.0], beta=1)
    assert_type(slopes, reference.Gradients)
    assert_type(slopes.values, list[list[Any]] | None)
    assert_type(reference.implicit_gradient(query, memory, query, beta=1, to=60), reference.Gradients)
    assert_type(reference.solve_large(np.eye(2), np.eye(2), beta=1.0), reference.Solution)
    solution = reference.solve(query, memory, beta=1)
    assert_type(solution, reference.Solution)
    assert_type(solution.kept, NDArray[np.bool_])
    assert_type(solution.state, reference.Enclosed)
    assert_type(solution.energy, reference.Enclosed | None)
    assert_type(solution.state.hi, NDArray[np.float64])
    assert_type(solution.state.error(solution.state.hi), tuple[NDArray[np.float64], NDArray[np.float64]])
    assert_type(reference.round_ratio(1, 3, hopspec.Format("tiny", 4, -8, 7)), Any)
    assert_type(reference.rounded_update([[1.0]], [[1.0]], beta=1.0, bits=8), list[list[float]])
    assert_type(reference.working_bits(hopspec.Precision.logarithmic(4), 1024), int)
    for module in (reference.definitions, reference.hardness, reference.thought):
        assert_type(module, ModuleType)


class MyArithmetic:
    """Arithmetic in F_p of one's own, through the reference."""

    def supports(self, format: hopspec.PBits) -> bool:
        """Every set of numbers."""
        return format.bits <= 64

    def operate(
        self, operation: str, format: hopspec.PBits, operands: Sequence[Sequence[Any]]
    ) -> list[hopspec.PBit]:
        """One result after the other."""
        function = getattr(reference.pbit.Arithmetic(format), operation)
        return [function(*each) for each in zip(*operands, strict=True)]

    def update(
        self,
        format: hopspec.PBits,
        query: Sequence[Sequence[float]],
        memory: Sequence[Sequence[float]],
        beta: float,
    ) -> list[list[hopspec.PBit]]:
        """One update; unit matrices project nothing."""
        width = range(len(query[0]))
        unit = [[float(i == j) for j in width] for i in width]
        layer = reference.networks.Hopfield(unit, unit, beta=beta, stored=memory)
        return reference.networks.evaluate(layer, query, format)


def the_constructions() -> hopspec.Construction:
    """What is verified besides kernels."""
    numbers = hopspec.PBits(4)
    assert_type(numbers.largest, hopspec.PBit)
    assert_type(reference.pbit.Arithmetic(numbers).number(0.5), hopspec.PBit)
    assert_type(MyArithmetic().operate("add", numbers, [[numbers.zero], [numbers.zero]]), list[hopspec.PBit])
    return hopspec.Construction("mine", arithmetic=MyArithmetic())


if __name__ == "__main__":
    the_fast_path()
    the_shared_types()
    assert_type(a_description().retrieve, Callable[..., Any])
    the_reference()
    the_constructions()
