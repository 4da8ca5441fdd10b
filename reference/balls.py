r"""Numbers with proved radii: integers $m$, $r$ stand for all reals within $r\, 2^{-P}$ of $m\, 2^{-P}$.

Every operation gives a ball that holds all results for members of its operands.

*Softmax.* The centres of the logits give integers $W_i$ within 1 of $2^P e^{m_i - \max m}$; a logit that is
off by $\theta \le 1$ changes its exponential by at most $2 \theta$ of it.

*Linear system* $M w^* = g$. Let $A$ be any matrix with $\|I - A M\| \le \epsilon < 1$ in the norm of row
sums, $w$ any vector and $r = g - M w$. Then $A M$, and so $M$, is invertible and

$$w^* - w = (A M)^{-1} A r , \qquad \|w^* - w\|_\infty \le \frac{\|A r\|_\infty}{1 - \epsilon} .$$

$A$ is the inverse that float64 finds, and $w$ is improved by $A r$ until that no longer helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hopspec.reference.directed import scaled
from hopspec.reference.exponential import exps_fixed

__all__ = ["Ball", "Balls"]

Ball = tuple[int, int]
"""A centre and a radius."""


@dataclass(frozen=True, slots=True)
class Balls:
    """Arithmetic with balls in units of ``2**-bits``.

    >>> balls = Balls(10)
    >>> third = balls.enclose(Fraction(1, 3), Fraction(0), 0)
    >>> third, balls.times(third, third)  # 341/1024 +- 1/1024, 113/1024 +- 2/1024
    ((341, 1), (113, 2))
    """

    bits: int

    @property
    def one(self) -> int:
        """The integer that stands for 1."""
        return 1 << self.bits

    def unit(self, one: bool) -> Ball:
        """1 or 0."""
        return (self.one if one else 0), 0

    def enclose(self, value: Fraction, radius: Fraction, power: int) -> Ball:
        """The ball of ``value``, known to within ``radius``, times a power of two."""
        centre = scaled(value, self.bits + power)
        whole = round(centre)
        spread = abs(centre - whole) + scaled(radius, self.bits + power)
        return whole, -(-spread.numerator // spread.denominator)

    def fractions(self, ball: Ball, power: int) -> tuple[Fraction, Fraction]:
        """Centre and radius, times a power of two."""
        return scaled(Fraction(ball[0]), power - self.bits), scaled(Fraction(ball[1]), power - self.bits)

    def plus(self, x: Ball, y: Ball) -> Ball:
        """The sum."""
        return x[0] + y[0], x[1] + y[1]

    def minus(self, x: Ball, y: Ball) -> Ball:
        """The difference."""
        return x[0] - y[0], x[1] + y[1]

    def times(self, x: Ball, y: Ball) -> Ball:
        """The product; its centre is rounded down."""
        return self.dot((x,), (y,))

    def dot(self, x: Sequence[Ball], y: Sequence[Ball]) -> Ball:
        """The sum of products, rounded once."""
        centre = radius = 0
        for (a, r), (b, s) in zip(x, y, strict=True):
            centre += a * b
            radius += abs(a) * s + (abs(b) + s) * r
        rest = centre & (self.one - 1)
        return centre >> self.bits, (radius + rest + self.one - 1) >> self.bits

    def softmax(self, logits: Sequence[Ball]) -> list[Ball] | None:
        """The association; None if a logit is off by more than 1."""
        if max(r for _, r in logits) > self.one:
            return None
        largest = max(m for m, _ in logits)
        integers = exps_fixed([m - largest for m, _ in logits], -self.bits, 1, self.bits)
        weights = [
            (w, (0 if m == largest else 1) + ((w + 1) * 2 * r >> self.bits) + (1 if r else 0))
            for w, (m, r) in zip(integers, logits, strict=True)
        ]
        total, spread = sum(w for w, _ in weights), sum(r for _, r in weights)
        if spread >= total:
            return None
        found = []
        for w, r in weights:
            quotient, rest = divmod(w << self.bits, total)
            # |w / t - w' / t'| <= (r + (w / t) spread) / t', and t' >= total - spread.
            error = (r << self.bits) + (quotient + 1) * spread
            found.append((quotient, -(-error // (total - spread)) + bool(rest)))
        return found

    def solve(self, system: list[list[Ball]], g: list[Ball]) -> list[Ball] | None:
        """The solution of a linear system; None if it is not shown to have one."""
        if not g:
            return []
        try:
            inverse = np.linalg.inv(np.array([[m / self.one for m, _ in row] for row in system]))
        except np.linalg.LinAlgError:
            return None
        if not np.isfinite(inverse).all():
            return None
        a = [[(round(scaled(Fraction(entry), self.bits)), 0) for entry in row] for row in inverse.tolist()]
        columns = list(zip(*system, strict=True))
        defect = 0
        for j, row in enumerate(a):
            entries = [
                self.minus(self.unit(j == k), self.dot(row, column)) for k, column in enumerate(columns)
            ]
            defect = max(defect, sum(abs(m) + r for m, r in entries))
        if defect >= self.one:
            return None
        candidate: list[Ball] = [(0, 0)] * len(g)
        w, bound = candidate, -1
        while True:
            rest = [self.minus(b, self.dot(row, candidate)) for b, row in zip(g, system, strict=True)]
            change = [self.dot(row, rest) for row in a]
            size = max(abs(m) + r for m, r in change)
            if 0 <= bound < 2 * size:
                break
            w, bound = candidate, size
            if not size:
                break
            candidate = [(v + m, 0) for (v, _), (m, _) in zip(candidate, change, strict=True)]
        radius = -(-(bound << self.bits) // (self.one - defect))
        return [(v, radius) for v, _ in w]
