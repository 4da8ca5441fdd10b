"""Faults of several steps, of the stop rule and of what settling reports."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hopspec.properties.faults.kernel import Kernel, Step
from hopspec.properties.faults.registry import plant
from hopspec.types import Settled, Status


@plant("fixed-point", "state_is_that_of_the_steps")
class DampedSettling(Kernel):
    """Every step of settling goes half the way."""

    def advance(self, new: Tensor, old: Tensor) -> Tensor:
        return (0.5 * new.double() + 0.5 * old.double()).to(new.dtype)


@plant("fixed-point", "state_is_that_of_the_steps")
class OverRelaxedSettling(Kernel):
    """Every step of settling goes 5 per cent too far."""

    def advance(self, new: Tensor, old: Tensor) -> Tensor:
        return (1.05 * new.double() - 0.05 * old.double()).to(new.dtype)


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnSquaredLength(Kernel):
    """Stops on the squared length of the step."""

    def stops(self, step: Step) -> Tensor:
        return step.residual.double().square() <= step.eps


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnMeanLength(Kernel):
    """Stops on the root mean square of the step's components."""

    def stops(self, step: Step) -> Tensor:
        return step.residual.double() <= step.eps * math.sqrt(step.new.shape[-1])


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnRelativeLength(Kernel):
    """Stops on the length of the step relative to that of the state."""

    def stops(self, step: Step) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(step.new.double(), dim=-1)
        return step.residual.double() <= step.eps * size


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnLargestComponent(Kernel):
    """Stops on the largest component of the step."""

    def stops(self, step: Step) -> Tensor:
        return (step.new.double() - step.old.double()).abs().amax(-1) <= step.eps


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnEnergy(Kernel):
    """Stops when the energy falls by less than eps."""

    def stops(self, step: Step) -> Tensor:
        moved = replace(step.inputs, query=step.new.double().nan_to_num())
        before, after = (
            self.ground(at, self.logarithm(self.sums(at), at)).double() for at in (step.inputs, moved)
        )
        # The energy of an empty row is infinite and stays so.
        return ~(before - after > step.eps)


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsOnAssociation(Kernel):
    """Stops when no weight of the association changes by more than eps."""

    def stops(self, step: Step) -> Tensor:
        before, after = self.weights(step.inputs), self.weights(replace(step.inputs, query=step.new.double()))
        return (after - before).abs().amax(-1) <= step.eps


@plant("fixed-point", "batch_mates_do_not_stop_a_query")
class StopsOnWholeBatch(Kernel):
    """Stops when the step of the whole batch is at most eps long."""

    def stops(self, step: Step) -> Tensor:
        whole = step.residual.double().square().sum().sqrt()
        return (whole <= step.eps).expand(step.residual.shape)


@plant("fixed-point", "batch_mates_do_not_stop_a_query")
class StopsOnMeanOfBatch(Kernel):
    """Stops when the mean step of the batch is at most eps long."""

    def stops(self, step: Step) -> Tensor:
        return (step.residual.double().mean() <= step.eps).expand(step.residual.shape)


@plant("fixed-point", "settling_ends")
class StopsBelowEps(Kernel):
    """Stops only when the step is shorter than eps, never on equality."""

    def stops(self, step: Step) -> Tensor:
        return step.residual.double() < step.eps


@plant("fixed-point", "stops_at_the_first_small_step")
class StopsAtTenthOfEps(Kernel):
    """Stops at a tenth of eps."""

    def stops(self, step: Step) -> Tensor:
        return step.residual.double() <= step.eps / 10


@plant("fixed-point", "stops_at_the_first_small_step")
class AlwaysConverged(Kernel):
    """Everything that ends at max_steps is reported as converged."""

    def reported(self, status: Tensor) -> Tensor:
        return status.masked_fill(status == int(Status.MAX_STEPS), int(Status.CONVERGED))


@plant("fixed-point", "empty_and_bad_rows_settle")
class NaNConverged(Kernel):
    """A NaN residual counts as converged."""

    def reported(self, status: Tensor) -> Tensor:
        return status.masked_fill(status == int(Status.NONFINITE), int(Status.CONVERGED))


@plant("fixed-point", "state_is_that_of_the_steps")
class PreviousStateReturned(Kernel):
    """The state before the last update is returned."""

    def returned(self, new: Tensor, old: Tensor) -> Tensor:
        return old


class Reported(Kernel):
    """A kernel that alters the result of settling."""

    def alter(self, settled: Settled[Tensor]) -> Settled[Tensor]:
        """The result as it is reported."""
        return settled

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        return self.alter(super().settle(query, memory, **options))


@plant("fixed-point", "masked_state_is_that_of_the_steps")
class StepsCountedFromZero(Reported):
    """The number of steps is one too small."""

    def alter(self, settled: Settled[Tensor]) -> Settled[Tensor]:
        return settled._replace(steps=settled.steps - 1)


@plant("fixed-point", "stops_at_the_first_small_step", "empty_and_bad_rows_settle")
class StepsOfSlowest(Reported):
    """Every query reports the steps of the slowest."""

    def alter(self, settled: Settled[Tensor]) -> Settled[Tensor]:
        steps = settled.steps
        return settled._replace(steps=steps.amax().expand(steps.shape).clone() if steps.numel() else steps)


@plant("fixed-point", "converged_states_are_stationary")
class ResidualSquared(Reported):
    """The residual of a converged query is the square of the length of its step."""

    def alter(self, settled: Settled[Tensor]) -> Settled[Tensor]:
        small = (settled.status == int(Status.CONVERGED)) & (settled.residual < 1)
        return settled._replace(residual=torch.where(small, settled.residual.square(), settled.residual))


@plant("fixed-point", "status_says_what_happened")
class OneStepTooMany(Kernel):
    """One more update is applied after the last step that is counted."""

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        settled = super().settle(query, memory, **options)
        state = self.again(settled.state, memory, options["beta"], options.get("keep"))
        return settled._replace(state=state)


@plant("fixed-point", "status_says_what_happened")
class EnergyOfPreviousState(Kernel):
    """The energy reported is that of the query."""

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        settled = super().settle(query, memory, **options)
        energy = self.energy(query, memory, beta=options["beta"], keep=options.get("keep"))
        return settled._replace(energy=energy.expand(settled.energy.shape))


@plant("fixed-point", "steps_are_bounded_by_the_energy")
class NeverStops(Kernel):
    """Runs on to max_steps, whatever the residual, unless it has become 0."""

    def stops(self, step: Step) -> Tensor:
        return step.residual.double() <= min(step.eps, 0.0)


@plant("fixed-point", "settling_ends")
class StalledTooEarly(Kernel):
    """A query is called stalled as soon as a coarse rounding of its state repeats."""

    def stalled(self, new: Tensor, anchor: Tensor) -> Tensor:
        return (
            (new.double() - anchor.double()).abs() <= 0.05 * new.double().abs().amax(-1, keepdim=True)
        ).all(-1)


@plant("fixed-point", "settling_ends")
class MaxStepsPlusOne(Kernel):
    """One update more than max_steps is made."""

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        return super().settle(query, memory, **{**options, "max_steps": options.get("max_steps", 1000) + 1})


@plant("fixed-point", "steps_are_applications", "trajectory_within_bound")
class OneStepTooFew(Kernel):
    """``steps = n`` applies the update n - 1 times for n above 1."""

    def count(self, steps: int) -> int:
        return max(steps - 1, 1)


@plant("fixed-point", "values_are_read_out_last")
class ValuesInEveryStep(Kernel):
    """Where values are as wide as the memory, every step reads them out, not only the last."""

    def retrieve(
        self,
        query: Tensor,
        memory: Tensor,
        *,
        beta: float | Tensor,
        values: Tensor | None = None,
        keep: Tensor | None = None,
        steps: int = 1,
    ) -> Tensor:
        if values is None or values.shape[-1] != query.shape[-1]:
            return super().retrieve(query, memory, beta=beta, values=values, keep=keep, steps=steps)
        state = query
        for _ in range(steps):
            state = super().retrieve(state, memory, beta=beta, values=values, keep=keep)
        return state


@plant("fixed-point", "empty_and_bad_rows_settle")
class EmptyRowNeverConverges(Kernel):
    """The first step of an empty row counts with its full length."""

    def stops(self, step: Step) -> Tensor:
        return self.residual(step.new, step.old).double() <= step.eps


@plant("fixed-point", "empty_and_bad_rows_settle")
class NaNStopsTheBatch(Kernel):
    """One query that is not finite ends the iteration of all."""

    def nonfinite(self, new: Tensor) -> Tensor:
        bad = super().nonfinite(new)
        return bad.any().expand(bad.shape)


@plant("fixed-point", "settling_ends", isolated=True)
class NoLimitOfSteps(Kernel):
    """Settling ignores max_steps, and on a cycle never ends."""

    def stalled(self, new: Tensor, anchor: Tensor) -> Tensor:
        return torch.zeros(new.shape[:-1], dtype=torch.bool)

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        return super().settle(query, memory, **{**options, "max_steps": 2**40})


@plant("fixed-point", "many_batch_mates_do_not_stop_a_query")
class RowsScatteredAmongRunning(Kernel):
    """Among more than eight queries, states of those still running go to the first places."""

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        found = super().settle(query, memory, **options)
        if query.ndim > 2 or len(query) <= 8:
            return found
        late = found.steps > found.steps.min()
        state = found.state.clone()
        state[: int(late.sum())] = found.state[late]
        return found._replace(state=state)


@plant("fixed-point", "many_batch_mates_keep_their_masks")
class MasksNotTakenOut(Kernel):
    """Among more than eight queries, masks stay in their places when queries that stopped are taken out."""

    def settle(self, query: Tensor, memory: Tensor, **options: Any) -> Settled[Tensor]:
        found = super().settle(query, memory, **options)
        keep = options.get("keep")
        if query.ndim > 2 or len(query) <= 8 or keep is None or keep.ndim < 2 or len(keep) == 1:
            return found
        late = (found.steps > found.steps.min()).nonzero()[:, 0]
        options["keep"] = keep[: len(late)]
        own = super().settle(query[late], memory, **options)
        return type(found)(*(a.index_put((late,), b) for a, b in zip(found, own, strict=True)))
