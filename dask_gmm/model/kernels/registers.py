"""The innermost loops of the matrix products in `products`, written for vector registers.

A block of `VECTORS` x (up to) `COLUMNS` sums stays in registers for a whole loop, so that each number loaded
from memory is used 3 or 8 times and the multipliers never wait. LLVM's own vectorizer does not find such
blocks, so these loops are built in LLVM's language; everything around them is plain Python.

Arrays are C-ordered here, and places in them are given as flat offsets counted in elements. Sums run in a
fixed order: the same numbers give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))
#: Width of a vector: one of AVX-512, else one of AVX2 or two of NEON.
VECTOR_BYTES = 64 if _WIDE else 32
#: Columns in a block: with `VECTORS` this fills the registers (32 of AVX-512, 16 of AVX2) and no more.
COLUMNS = 8 if _WIDE else 4
#: Vectors of rows (`multiply_block`) or lines of features (`accumulate_block`) in a block.
VECTORS = 3

_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)
_FUSED = ("contract",)


def _index(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


def _shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes)))


class _Array:
    """An array argument inside a builder: vectors to load and store at flat offsets."""

    def __init__(self, context: Any, builder: Any, array_type: types.Array, value: Any) -> None:
        array = context.make_array(array_type)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.line = cgutils.unpack_tuple(builder, array.shape)[-1]
        self.bytes = array_type.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.scalar = ir.DoubleType() if self.bytes == 8 else ir.FloatType()
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def place(self, offset: Any, line: Any = 0, vector: int = 0) -> Any:
        """Return the offset of the given line and vector, counted from an offset."""
        lines = self.builder.mul(self.line, _index(line) if isinstance(line, int) else line)
        return self.builder.add(self.builder.add(offset, lines), _index(vector * self.lanes))

    def _pointer(self, offset: Any, lanes: int) -> Any:
        first = self.builder.gep(self.data, [offset])
        return self.builder.bitcast(first, ir.VectorType(self.scalar, lanes).as_pointer())

    def load(self, offset: Any, lanes: int | None = None) -> Any:
        value = self.builder.load(self._pointer(offset, lanes or self.lanes))
        value.align = self.bytes
        return value

    def store(self, value: Any, offset: Any) -> None:
        self.builder.store(value, self._pointer(offset, value.type.count)).align = self.bytes

    def spread(self, offset: Any) -> Any:
        """Return one element, copied to every lane."""
        one = self.builder.load(self.builder.gep(self.data, [offset]))
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, one, ir.Constant(_LANE, 0))
        return _shuffle(self.builder, first, undefined, [0] * self.lanes)


def _sums_of_products(
    builder: Any,
    columns: int,
    stop: Any,
    step: int,
    vector: Any,
    load: Callable[[Any], tuple[list[Any], list[Any]]],
) -> list[list[Any]]:
    """Loop ``i = 0, step, ... < stop`` over ``sums[c][v] += a[c] * b[v]``, where ``a, b = load(i)``."""
    before = builder.block
    loop, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(_INDEX)
    zero = ir.Constant(vector, [0.0] * vector.count)
    sums = [[builder.phi(vector) for _ in range(VECTORS)] for _ in range(columns)]
    a, b = load(i)
    added = [
        [
            builder.fadd(builder.fmul(x, y, flags=_FUSED), s, flags=_FUSED)
            for y, s in zip(b, line, strict=True)
        ]
        for x, line in zip(a, sums, strict=True)
    ]
    following = builder.add(i, _index(step))
    for phi, first, again in [(i, _index(0), following)] + [
        (s, zero, new)
        for line, news in zip(sums, added, strict=True)
        for s, new in zip(line, news, strict=True)
    ]:
        phi.add_incoming(first, before)
        phi.add_incoming(again, loop)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    builder.position_at_end(after)
    return added


def _lane_sums(builder: Any, vectors: list[Any]) -> Any:
    """Sum each of m vectors over its lanes; the answer is a float64 vector of m lanes (a power of two)."""
    count, lanes, group = len(vectors), vectors[0].type.count, 1
    while len(vectors) > 1:  # fold pairs: lanes of both interleave, so no lane is ever idle
        even = [lane if lane // group % 2 == 0 else lane - group + lanes for lane in range(lanes)]
        odd = [lane + group if lane // group % 2 == 0 else lane + lanes for lane in range(lanes)]
        vectors = [
            builder.fadd(_shuffle(builder, a, b, even), _shuffle(builder, a, b, odd))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        group *= 2
    total = vectors[0]
    if isinstance(total.type.element, ir.FloatType):
        total = builder.fpext(total, ir.VectorType(ir.DoubleType(), lanes))
    while lanes > count:
        lanes //= 2
        low, high = range(lanes), range(lanes, 2 * lanes)
        total = builder.fadd(_shuffle(builder, total, total, low), _shuffle(builder, total, total, high))
    return total


def multiply_block(columns: int, *, squared: bool = False) -> Any:
    """Build the function that multiplies `columns` columns of parameters by ``VECTORS * lanes`` rows.

    ``out[k, t] = sum_p theta[p, k] features[p, t]``, or with `squared` ``out[t] += sum_k`` of its square.
    `at`, `row` and `to` are the places of ``theta[0, 0]``, ``features[0, t]`` and ``out[0, t]``; theta has
    `columns` elements in a line; `depth`, at least 1, counts the p.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(_: Any, theta: Any, at: Any, features: Any, row: Any, out: Any, to: Any, depth: Any) -> Any:
        index = types.intp

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a, b, c = (
                _Array(context, builder, t, values[i]) for i, t in ((0, theta), (2, features), (4, out))
            )
            at, row, to, depth = values[1], values[3], values[5], values[6]

            def load(p: Any) -> tuple[list[Any], list[Any]]:
                first = builder.add(at, builder.mul(p, _index(columns)))
                return (
                    [a.spread(builder.add(first, _index(k))) for k in range(columns)],
                    [b.load(b.place(row, p, v)) for v in range(VECTORS)],
                )

            sums = _sums_of_products(builder, columns, depth, 1, b.vector, load)
            for v in range(VECTORS):
                if squared:
                    total = c.load(c.place(to, 0, v))
                    for line in sums:
                        total = builder.fadd(
                            builder.fmul(line[v], line[v], flags=_FUSED), total, flags=_FUSED
                        )
                    c.store(total, c.place(to, 0, v))
                else:
                    for k, line in enumerate(sums):
                        c.store(line[v], c.place(to, k, v))
            return context.get_dummy_value()

        return types.void(theta, index, features, index, out, index, index), generate

    return block


def accumulate_block(columns: int) -> Any:
    """Build the function that sums products of `VECTORS` lines of features with `columns` lines of weights.

    ``out[p, k] += sum_t features[p, t] weights[k, t]``; `p`, `k` and `to` are the places of
    ``features[0, 0]``, ``weights[0, 0]`` and ``out[0, 0]``; `length`, at least 1, counts the t.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(_: Any, features: Any, p: Any, weights: Any, k: Any, out: Any, to: Any, length: Any) -> Any:
        index = types.intp

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            b, a, c = (
                _Array(context, builder, t, values[i]) for i, t in ((0, features), (2, weights), (4, out))
            )
            p, k, to, length = values[1], values[3], values[5], values[6]
            lines_a = [a.place(k, i) for i in range(columns)]
            lines_b = [b.place(p, i) for i in range(VECTORS)]

            def load(t: Any) -> tuple[list[Any], list[Any]]:
                return (
                    [a.load(builder.add(line, t)) for line in lines_a],
                    [b.load(builder.add(line, t)) for line in lines_b],
                )

            sums = _sums_of_products(builder, columns, length, b.lanes, b.vector, load)
            for v in range(VECTORS):
                place = c.place(to, v)
                total = _lane_sums(builder, [line[v] for line in sums])
                c.store(builder.fadd(c.load(place, columns), total), place)
            return context.get_dummy_value()

        return types.void(features, index, weights, index, out, index, index), generate

    return block
