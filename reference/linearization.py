r"""The update and its Jacobian at one state, enclosed by integers (clauses MHN-FIX-4 and MHN-FIX-5).

Notation as in :mod:`hopspec.reference.row`: integer weights $W_i$ with $|W_i - w_i| \le 1$, sums $S$ and $s$,
and $n$ memories below the largest logit. All vectors are integers times one unit $u$.

*Update.* :meth:`hopspec.reference.row.Row.update` encloses $o = T(x)$; the nearest vector $c$ on a grid is
within a known distance $\epsilon$ of it.

*Jacobian.* With $y_i = x_i - c$, which is exact, let $C = \sum w_i y_i y_i^{\mathsf T} / s$ and $\hat C =
\sum W_i y_i y_i^{\mathsf T} / S$. Since $\sum w_i (y_i y_i^{\mathsf T} - C) = 0$,

$$\hat C - C = \frac1S \sum_i (W_i - w_i)(y_i y_i^{\mathsf T} - C), \qquad
  \|\hat C - C\| \le \frac nS \max_i |y_i|^2 ,$$

because the difference of two positive semidefinite matrices is no longer than the longer of them, and $\|C\|
\le \max_i |y_i|^2$. Moving the centre from $c$ to the mean $o$ gives $\mathrm{Cov} = C - (o - c)(o -
c)^{\mathsf T}$. So $\hat J = \beta \hat C$ is within $\beta (n \max_i |y_i|^2 / S + \epsilon^2)$ of $J(x)$.

*Spectrum.* Let $V$ be any square matrix, $\Sigma$ any diagonal one, $F = V^{\mathsf T} V - I$, $\varphi =
\|F\| < 1$ and $G = J - V \Sigma V^{\mathsf T}$. By Ostrowski's theorem every eigenvalue of $V \Sigma
V^{\mathsf T}$ is one of $\Sigma$ times a factor between $1 - \varphi$ and $1 + \varphi$, and by Weyl's
every eigenvalue of $J$ is within $\|G\|$ of one of those, in order. So the largest one is enclosed by the
largest of $\Sigma$. With the columns of $V$ approximate eigenvectors, all of this is small; Frobenius norms
bound $F$ and $G$.

*Inverse.* Let $D$ be diagonal and $A = V D V^{\mathsf T}$. Then $\|A\| \le (1 + \varphi) \max |d_k|$ and,
with $H = D (I - \Sigma) - I$,

$$I - A(I - J) = (I - V V^{\mathsf T}) - V H V^{\mathsf T} + V D F \Sigma V^{\mathsf T} + A G ,$$

$$\|I - A(I - J)\| \le \varphi + (1 + \varphi)\bigl(\|H\| + \|D\|\, \varphi\, \|\Sigma\|\bigr) + \|A\|
  \|G\| ,$$

since $V V^{\mathsf T}$ has the eigenvalues of $V^{\mathsf T} V$. The matrix $A$ is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from operator import mul

import numpy as np

from hopspec.reference.directed import above, below, length_above, root_above, scaled
from hopspec.reference.dyadic import Matrix
from hopspec.reference.exact_product import Integers, gram
from hopspec.reference.problem import Problem
from hopspec.reference.row import Row, View

__all__ = ["Spectrum", "Step", "spectrum_at", "step_at"]

# Bits of everything that goes into a matrix, and of eigenvectors, which float64 makes good for fewer.
_BITS = 60
_VECTOR_BITS = 52


@dataclass(frozen=True, slots=True)
class Step:
    """What the update does to one state ``x``.

    Args:
        centre: ``c``, integers times ``unit``.
        unit: see ``centre``: the memory's own unit times ``2**-grid``.
        grid: see ``unit``.
        error: a bound on ``|T(x) - c|``.
        difference: ``x - c``, integers times ``fine``.
        fine: see ``difference``.
        length: a bound on ``|x - T(x)|``.
        weights: the integer weights.
        below: how many memories are below the largest logit.
    """

    centre: list[int]
    unit: Fraction
    grid: int
    error: Fraction
    difference: list[int]
    fine: Fraction
    length: Fraction
    weights: list[int]
    below: int

    def state(self, memory: Matrix) -> Matrix:
        """The centre as the query of a problem with this memory."""
        return Matrix(
            [self.centre], memory.exponent - self.grid, memory.denominator, len(self.centre), [True]
        )


def step_at(problem: Problem, view: View, row: int, bits: int) -> Step:
    """Enclose the update of query number ``row`` with weights of ``bits`` bits."""
    answer = Row(problem, view, row)
    weighted = answer.weigh(bits)
    memory, query = problem.memory, problem.query
    grid = max(0, bits - max(view.ranges, default=0).bit_length())
    unit = scaled(Fraction(1, memory.denominator), memory.exponent - grid)
    centre: list[int] = []
    errors: list[int] = []
    for numerator, _, _, doubt in answer.update(weighted):
        # The component is numerator / total, give or take doubt / total, in units of the memory's last place.
        entry, rest = divmod((numerator << (grid + 1)) + weighted.total, 2 * weighted.total)
        centre.append(entry)
        exact = not doubt and rest == weighted.total
        errors.append(0 if exact else -(-(doubt << grid) // weighted.total) + 1)
    error = unit * length_above(errors)
    # Query entries are integers in units 2**query.exponent / dq, the centre's in 2**(exponent - grid) / dx.
    exponent = min(query.exponent, memory.exponent - grid)
    query_scale = memory.denominator << (query.exponent - exponent)
    centre_scale = query.denominator << (memory.exponent - grid - exponent)
    difference = [q * query_scale - c * centre_scale for q, c in zip(query.rows[row], centre, strict=True)]
    fine = scaled(Fraction(1, memory.denominator * query.denominator), exponent)
    length = above(fine * length_above(difference) + error)
    return Step(centre, unit, grid, error, difference, fine, length, weighted.integers, answer.below)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What is proved about the Jacobian at one state; symbols as in the module's description.

    Args:
        extent: a bound on ``max_i |x_i - T(x)|``.
        largest: a bound on the largest eigenvalue, which is the norm.
        least: a number that the largest eigenvalue is not below.
        vectors: the columns of ``V``, integers times ``2**-52``.
        values: the entries of ``Sigma``.
        orthogonality: ``varphi``.
        residual: a bound on ``|G|``.
    """

    extent: Fraction
    largest: Fraction
    least: Fraction
    vectors: list[list[int]]
    values: list[Fraction]
    orthogonality: Fraction
    residual: Fraction

    def inverse(self) -> Inverse | None:
        """An approximate inverse of ``I - J``; None where it is too close to singular for float64."""
        factors = []
        for value in self.values:
            gap = 1 - value
            if not Fraction(1, 1 << 50) <= abs(gap) <= 1 << 900:
                return None
            factors.append(Fraction(1 / float(gap)))
        phi = self.orthogonality
        norm = above((1 + phi) * max(map(abs, factors), default=Fraction(1)))
        mismatch = max((abs(d * (1 - v) - 1) for d, v in zip(factors, self.values, strict=True)), default=phi)
        bent = max(map(abs, self.values), default=phi)
        defect = phi + (1 + phi) * mismatch + norm * (phi * bent + self.residual)
        return Inverse(self.vectors, factors, norm, above(defect), phi)


@dataclass(frozen=True, slots=True)
class Inverse:
    """An approximate inverse ``A = V D V'`` of ``I - J``.

    Args:
        vectors: the columns of ``V``, integers times ``2**-52``.
        factors: the entries of ``D``.
        norm: a bound on ``|A|``.
        defect: a bound on ``|I - A (I - J)|``.
        orthogonality: ``varphi``.
    """

    vectors: list[list[int]]
    factors: list[Fraction]
    norm: Fraction
    defect: Fraction
    orthogonality: Fraction

    def shift(self, step: Step) -> Fraction:
        """A bound on ``|A (x - T(x))|``."""
        along = [sum(map(mul, vector, step.difference)) for vector in self.vectors]
        square = sum((d * a) ** 2 for d, a in zip(self.factors, along, strict=True))
        seen = scaled(step.fine * root_above(Fraction(square)), -_VECTOR_BITS)
        return above((1 + self.orthogonality) * seen + self.norm * step.error)

    def apply(self, vector: list[int]) -> list[int]:
        """``A`` times an integer vector, each entry rounded towards minus infinity."""
        along = [d * sum(map(mul, v, vector)) for v, d in zip(self.vectors, self.factors, strict=True)]
        # Factors are floats: their common denominator is a power of two.
        common = max((a.denominator for a in along), default=1)
        parts = [a.numerator * (common // a.denominator) for a in along]
        rows = zip(*self.vectors, strict=True)
        return [sum(map(mul, row, parts)) // (common << (2 * _VECTOR_BITS)) for row in rows]


def spectrum_at(problem: Problem, view: View, step: Step) -> Spectrum | None:
    """Enclose the Jacobian at the state of ``step``; None where float64 finds no eigenvectors.

    Weights and offsets ``y_i`` are cut to 60 bits, which the eigenvectors, found in float64, do not notice;
    what is cut off is added to the bounds.

    Args:
        problem: supplies memory and ``beta``.
        view: the memories kept.
        step: a step of this problem, of any number of bits.
    """
    count, width = len(view.kept), len(step.centre)
    offsets = [
        [(entry << step.grid) - c for entry, c in zip(pattern, step.centre, strict=True)]
        for pattern in view.memory
    ]
    reach = max(map(length_above, offsets))
    extent = above(step.unit * reach + step.error)
    cut, drop = max(0, reach.bit_length() - _BITS), max(0, sum(step.weights).bit_length() - _BITS)
    if cut:
        offsets = [[entry >> cut for entry in offset] for offset in offsets]
        reach = (reach >> cut) + width + 1
    weights = [weight >> drop for weight in step.weights] if drop else step.weights
    total = sum(weights)
    away = step.below + (count if drop else 0)
    # M = sum_i (W_i y_i 2**-shift) y_i': the first factor is rounded down to an integer.
    shift = total.bit_length()
    shares = [[w * entry >> shift for entry in offset] for w, offset in zip(weights, offsets, strict=True)]
    moments = gram(_integers(shares, width), _integers(offsets, width))
    unit = step.unit * (1 << cut)
    scale = above(problem.beta.fraction() * unit**2)
    # In this order: the weights, the shares, the offsets, the centre.
    error = above(
        scale * Fraction(away * reach**2 + (count * width * reach << shift), total)
        + (scale * width * (2 * reach + width) if cut else 0)
        + problem.beta.fraction() * step.error**2
    )
    size = (
        max((abs(moment).bit_length() for row in moments for moment in row), default=0) + width.bit_length()
    )
    # The matrix is factor times one with eigenvalues below 1, in units of 2**-60.
    factor = scaled(Fraction(problem.beta.fraction() * unit**2) / total, size + shift)
    matrix = [[_shifted(row[k], _BITS - size) for k in range(j + 1)] for j, row in enumerate(moments)]
    found = _eigenvectors(matrix)
    if found is None:
        return None
    values, vectors = found
    phi = _orthogonality(vectors)
    if not phi < 1:
        return None
    residual = above(factor * _residual(matrix, values, vectors) + error)
    sigmas = [factor * Fraction(value, 1 << _BITS) for value in values]
    top = max(sigmas, default=Fraction(0))
    largest = above(max(top, Fraction(0)) * (1 + phi) + residual)
    least = below(top * (1 - phi if top > 0 else 1 + phi) - residual)
    return Spectrum(extent, largest, least, vectors.T.tolist(), sigmas, phi, residual)


def _integers(rows: list[list[int]], width: int) -> Integers:
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)


def _shifted(number: int, shift: int) -> int:
    return number << shift if shift >= 0 else number >> -shift


def _eigenvectors(matrix: list[list[int]]) -> tuple[list[int], Integers] | None:
    """Approximate eigenvalues, in units of ``2**-60``, and columns of eigenvectors, of ``2**-52``.

    Args:
        matrix: the lower triangle of a symmetric matrix, in units of ``2**-60``.
    """
    lower = np.zeros((len(matrix), len(matrix)))
    for j, row in enumerate(matrix):
        lower[j, : j + 1] = row
    try:
        values, vectors = np.linalg.eigh(np.ldexp(lower, -_BITS))
    except np.linalg.LinAlgError:
        return None
    columns = np.rint(np.ldexp(vectors, _VECTOR_BITS)).astype(np.int64)
    return [int(value) for value in np.rint(np.ldexp(values, _BITS))], columns


def _orthogonality(vectors: Integers) -> Fraction:
    """A bound on ``|V' V - I|``."""
    products = gram(vectors, vectors)
    for k, row in enumerate(products):
        row[k] -= 1 << (2 * _VECTOR_BITS)
    return scaled(Fraction(length_above([entry for row in products for entry in row])), -2 * _VECTOR_BITS)


def _residual(matrix: list[list[int]], values: list[int], vectors: Integers) -> Fraction:
    """A bound on ``|matrix - V Sigma V'|``, where ``matrix`` was rounded down to units of ``2**-60``."""
    width = len(matrix)
    rows = vectors.tolist()
    bent = [[value * entry >> _VECTOR_BITS for value, entry in zip(values, row, strict=True)] for row in rows]
    product = gram(_integers(bent, width).T, vectors.T)
    entries = [
        ((matrix[j][k] if k <= j else matrix[k][j]) << _VECTOR_BITS) - product[j][k]
        for j in range(width)
        for k in range(width)
    ]
    # Rounding down moves an entry of the matrix by less than one unit, and one of V Sigma by as much, which
    # is multiplied by a row of V, shorter than 2.
    rounded = width + 2 * width * width
    return scaled(Fraction(length_above(entries) + (rounded << _VECTOR_BITS)), -_BITS - _VECTOR_BITS)
