"""The two halves of a step for eight rows with errors, written out for a number of features.

All numbers of a row stay in registers from its covariance to its log-joint: T = V + S is factorized as
L D L^T with a unit triangle, so that there is a division and no root a feature. The same steps in loops,
through memory, take three times as long; so these are built in LLVM's language. Places are flat offsets
counted in elements.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dask_gmm.model.kernels.lanes import LANES
from dask_gmm.model.kernels.vectors import Array, index, spread

_FUSED = ("contract",)
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


class _Lanes:
    """Arithmetic of vectors while code is built."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def constant(self, value: float) -> Any:
        """Return a number in all lanes."""
        return ir.Constant(_VECTOR, [value] * LANES)

    def spread(self, value: Any) -> Any:
        """Copy a number to all lanes."""
        return spread(self.builder, value, LANES)

    def times(self, a: Any, b: Any) -> Any:
        """Return a b."""
        return self.builder.fmul(a, b, flags=_FUSED)

    def plus(self, out: Any, a: Any, b: Any) -> Any:
        """Return out + a b."""
        return self.builder.fadd(out, self.times(a, b), flags=_FUSED)

    def minus(self, out: Any, a: Any, b: Any) -> Any:
        """Return out - a b."""
        return self.builder.fsub(out, self.times(a, b), flags=_FUSED)


class _Lines:
    """Lines of an array of shape (n_lines, n), eight elements of each from `lane` on."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any, lane: Any) -> None:
        self._array = Array(context, builder, kind, value)
        self._builder, self._lane = builder, lane

    def _place(self, line: int) -> Any:
        lines = self._builder.mul(self._array.line, index(line))
        return self._builder.add(lines, self._lane)

    def load(self, line: int) -> Any:
        """Load eight numbers."""
        return self._array.load(self._place(line), LANES)

    def store(self, line: int, value: Any) -> None:
        """Store eight numbers."""
        self._array.store(value, self._place(line))


def _triangle(a: int, b: int) -> int:
    return a * (a + 1) // 2 + b


def _factorize(v: _Lanes, t: list[list[Any]]) -> list[Any]:
    """Replace a matrix by its unit triangle, and return the inverse pivots."""
    d = len(t)
    inverse = []
    for b in range(d):
        inverse.append(v.builder.fdiv(v.constant(1.0), t[b][b]))
        for a in range(b + 1, d):
            factor = v.times(t[a][b], inverse[b])
            for c in range(b + 1, a + 1):
                # Lines up to a are not divided yet.
                t[a][c] = v.minus(t[a][c], factor, t[c][b][1] if c < a else t[a][b])
            t[a][b] = (factor, t[a][b])
        for a in range(b + 1, d):
            t[a][b] = t[a][b][0]
    return inverse


@intrinsic  # type: ignore[untyped-decorator]
def density_step(
    _: Any,
    dims: Any,
    mean: Any,
    covariance: Any,
    tile: Any,
    seen: Any,
    both: Any,
    noise: Any,
    kept: Any,
    out: Any,
    product: Any,
    lane: Any,
) -> Any:
    """Take eight rows to their distances: the first half of a step.

    The unit triangle with inverse pivots, then the scaled solution, go to the lines of `kept`, minus the
    distance to `out`, and the product of the inverse pivots to `product`, both of shape (n,). The length of
    the tuple `dims` is the number of features.
    """
    d, kinds = dims.count, (mean, covariance, tile, seen, both, noise, kept, out, product, lane)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        values = given[1:]
        v, at = _Lanes(builder), values[9]
        means, matrix = (Array(context, builder, kinds[i], values[i]) for i in (0, 1))
        rows, masks, pairs, errors, keep, result, pivots = (
            _Lines(context, builder, kinds[i], values[i], at) for i in range(2, 9)
        )
        t = [
            [
                v.plus(
                    errors.load(_triangle(a, b)),
                    v.spread(matrix.element(index(a * d + b))),
                    pairs.load(_triangle(a, b)),
                )
                for b in range(a + 1)
            ]
            for a in range(d)
        ]
        inverse = _factorize(v, t)
        solved: list[Any] = []
        for a in range(d):
            u = builder.fsub(rows.load(a), v.spread(means.element(index(a))))
            u = v.times(u, masks.load(a))
            for c in range(a):
                u = v.minus(u, t[a][c], solved[c])
            solved.append(u)
        distance, all_pivots = v.constant(0.0), v.constant(1.0)
        for a in range(d):
            scaled = v.times(solved[a], inverse[a])
            distance = v.minus(distance, scaled, solved[a])
            all_pivots = v.times(all_pivots, inverse[a])
            for b in range(a):
                keep.store(_triangle(a, b), t[a][b])
            keep.store(_triangle(a, a), inverse[a])
            keep.store(_triangle(d, 0) + a, scaled)
        result.store(0, distance)
        pivots.store(0, all_pivots)
        return context.get_dummy_value()

    return types.void(dims, *kinds), generate


@intrinsic  # type: ignore[untyped-decorator]
def moments_step(
    _: Any, dims: Any, covariance: Any, seen: Any, kept: Any, resp: Any, sums: Any, lane: Any
) -> Any:
    """Add what eight rows say of where they truly are: the second half of a step.

    `resp`, of shape (1, n), times v and times v v^T less the component's covariance are added to the lines of
    `sums`, shape (1 + d + d (d + 1) / 2, LANES), after the first.
    """
    d, kinds = dims.count, (covariance, seen, kept, resp, sums, lane)

    def generate(context: Any, builder: Any, _: Any, given: Any) -> Any:
        values = given[1:]
        v, at = _Lanes(builder), values[5]
        matrix = Array(context, builder, covariance, values[0])
        masks, keep, shares = (_Lines(context, builder, kinds[i], values[i], at) for i in (1, 2, 3))
        total = _Lines(context, builder, sums, values[4], index(0))
        share, z, expected = shares.load(0), [], []
        for c in range(d):
            line: list[Any] = []
            for a in range(d):
                w = v.times(v.spread(matrix.element(index(a * d + c))), masks.load(a))
                for b in range(a):
                    w = v.minus(w, keep.load(_triangle(a, b)), line[b])
                line.append(w)
            mean = v.constant(0.0)
            for a in range(d):
                mean = v.plus(mean, line[a], keep.load(_triangle(d, 0) + a))
            z.append(line)
            expected.append(mean)
            total.store(1 + c, v.plus(total.load(1 + c), mean, share))
        place = 1 + d
        for c in range(d):
            scaled = [v.times(z[c][a], keep.load(_triangle(a, a))) for a in range(d)]
            for b in range(c, d):
                moment = v.times(expected[c], expected[b])
                for a in range(d):
                    moment = v.minus(moment, scaled[a], z[b][a])
                total.store(place, v.plus(total.load(place), moment, share))
                place += 1
        return context.get_dummy_value()

    return types.void(dims, *kinds), generate
