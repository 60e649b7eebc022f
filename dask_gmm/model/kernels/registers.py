"""The innermost loops of the two matrix products in `products`, written for vector registers.

A block of `VECTORS` x `COLUMNS` sums stays in registers for a whole loop, so that each number loaded from
memory is used 3 or 8 times and the multipliers never wait. LLVM's own vectorizer does not find such blocks,
so these two loops are built in LLVM's language; everything around them is plain Python.

Sums run in a fixed order, so the same numbers give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_WIDE = bool(llvmlite.binding.get_host_cpu_features().get("avx512f", False))
#: Width of a vector: AVX-512, else two of NEON or one of AVX2.
VECTOR_BYTES = 64 if _WIDE else 32
#: Components in a block: with `VECTORS` this fills the registers (32 of AVX-512, 16 of AVX2) and no more.
COLUMNS = 8 if _WIDE else 4
#: Vectors of rows (`multiply_add`) or features (`accumulate`) in a block.
VECTORS = 3

_INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


def _index(value: int) -> ir.Constant:
    return ir.Constant(_INDEX, value)


def _shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes)))


class _Array:
    """An array argument inside a builder: loads and stores of vectors at an offset counted in elements."""

    def __init__(self, context: Any, builder: Any, array_type: types.Array, value: Any) -> None:
        self.builder = builder
        self.data = context.make_array(array_type)(context, builder, value).data
        self.bytes = array_type.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.scalar = ir.DoubleType() if self.bytes == 8 else ir.FloatType()
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def _at(self, offset: Any, lanes: int) -> Any:
        pointer = self.builder.gep(self.data, [offset])
        return self.builder.bitcast(pointer, ir.VectorType(self.scalar, lanes).as_pointer())

    def load(self, offset: Any, lanes: int | None = None) -> Any:
        value = self.builder.load(self._at(offset, lanes or self.lanes))
        value.align = self.bytes
        return value

    def store(self, value: Any, offset: Any) -> None:
        self.builder.store(value, self._at(offset, value.type.count)).align = self.bytes

    def spread(self, offset: Any) -> Any:
        """One element, copied to every lane."""
        one = self.builder.load(self.builder.gep(self.data, [offset]))
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, one, ir.Constant(_LANE, 0))
        return _shuffle(self.builder, first, undefined, [0] * self.lanes)


def _sum_of_products(
    builder: Any, stop: Any, step: int, start: list[Any], load: Callable[[Any], tuple[list[Any], list[Any]]]
) -> list[Any]:
    """Loop ``i = 0, step, ... < stop``: ``sums[c * len(b) + v] += a[c] * b[v]`` with ``a, b = load(i)``."""
    before, loop, after = (
        builder.block,
        builder.append_basic_block("loop"),
        builder.append_basic_block("after"),
    )
    builder.branch(loop)
    builder.position_at_end(loop)
    i = builder.phi(_INDEX)
    sums = [builder.phi(value.type) for value in start]
    a, b = load(i)
    products = [builder.fmul(left, right, flags=("contract",)) for left in a for right in b]
    added = [builder.fadd(p, s, flags=("contract",)) for p, s in zip(products, sums, strict=True)]
    following = builder.add(i, _index(step))
    for phi, first, again in zip([i, *sums], [_index(0), *start], [following, *added], strict=True):
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


def multiply_add_block(columns: int) -> Any:
    """Build ``out[k, t] += sum_p theta[p, k] features[p, t]`` for `columns` k and ``VECTORS * lanes`` t.

    The arguments are flat offsets: of theta's block, of the first feature's first row and of ``out[0, 0]``;
    `stride` parts both one feature from the next and one line of `out` from the next; `depth` (at least 1)
    counts the p.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        _: Any, theta: Any, at: Any, features: Any, row: Any, stride: Any, out: Any, to: Any, depth: Any
    ) -> Any:
        signature = types.void(
            theta, types.intp, features, types.intp, types.intp, out, types.intp, types.intp
        )

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a = _Array(context, builder, theta, values[0])
            b = _Array(context, builder, features, values[2])
            c = _Array(context, builder, out, values[5])
            at, row, stride, to, depth = values[1], values[3], values[4], values[6], values[7]
            targets = [
                builder.add(builder.add(to, builder.mul(stride, _index(k))), _index(v * c.lanes))
                for k in range(columns)
                for v in range(VECTORS)
            ]

            def load(p: Any) -> tuple[list[Any], list[Any]]:
                first = builder.add(at, builder.mul(p, _index(columns)))
                line = builder.add(row, builder.mul(p, stride))
                return (
                    [a.spread(builder.add(first, _index(k))) for k in range(columns)],
                    [b.load(builder.add(line, _index(v * b.lanes))) for v in range(VECTORS)],
                )

            sums = _sum_of_products(builder, depth, 1, [c.load(target) for target in targets], load)
            for total, target in zip(sums, targets, strict=True):
                c.store(total, target)
            return context.get_dummy_value()

        return signature, generate

    return block


def accumulate_block(columns: int) -> Any:
    """Build ``out[p, k] += sum_t features[p, t] weights[k, t]`` for `VECTORS` p and `columns` k.

    The arguments are flat offsets: of the first feature, of the first weights and of ``out[0, 0]``; `stride`
    parts the lines of `features` and of `weights`, `width` those of `out`; `length` (at least 1) counts the
    t.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        _: Any,
        features: Any,
        p: Any,
        weights: Any,
        k: Any,
        stride: Any,
        length: Any,
        out: Any,
        to: Any,
        width: Any,
    ) -> Any:
        index = types.intp
        signature = types.void(features, index, weights, index, index, index, out, index, index)

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a = _Array(context, builder, weights, values[2])
            b = _Array(context, builder, features, values[0])
            c = _Array(context, builder, out, values[6])
            p, k, stride, length, to, width = values[1], values[3], values[4], values[5], values[7], values[8]
            lines_a = [builder.add(k, builder.mul(stride, _index(i))) for i in range(columns)]
            lines_b = [builder.add(p, builder.mul(stride, _index(i))) for i in range(VECTORS)]

            def load(t: Any) -> tuple[list[Any], list[Any]]:
                return (
                    [a.load(builder.add(line, t)) for line in lines_a],
                    [b.load(builder.add(line, t)) for line in lines_b],
                )

            zeros = [ir.Constant(b.vector, [0.0] * b.lanes)] * (columns * VECTORS)
            sums = _sum_of_products(builder, length, b.lanes, zeros, load)
            for v in range(VECTORS):
                target = builder.add(to, builder.mul(width, _index(v)))
                total = _lane_sums(builder, sums[v::VECTORS])
                c.store(builder.fadd(c.load(target, columns), total), target)
            return context.get_dummy_value()

        return signature, generate

    return block
