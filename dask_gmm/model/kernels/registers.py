"""The innermost loops of the kernels, written for vector registers.

A block of `VECTORS` x (up to) `COLUMNS` sums stays in registers for a whole loop, so that each number loaded
from memory is used 3 or 8 times and the multipliers never wait. LLVM's own vectorizer does not find such
blocks, so these loops are built in LLVM's language; everything around them is plain Python.

Sums run in a fixed order: the same numbers give the same bits. Arrays are C-ordered, and places in them are
flat offsets counted in elements, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from dask_gmm.model.kernels.vectors import (
    INDEX,
    VECTOR_BYTES,
    WIDE,
    Array,
    index,
    lane_sums,
    transposed,
)

#: Columns in a block: with `VECTORS` this fills the registers (32 of AVX-512, 16 of AVX2) and no more.
COLUMNS = 8 if WIDE else 4
#: Vectors of rows (`multiply_block`) or lines of features (`accumulate_block`) in a block.
VECTORS = 3
#: Rows and columns that `transpose_block` takes: as many as a vector has float64 lanes.
SIDE = VECTOR_BYTES // 8

_INT = types.intp
_FUSED = ("contract",)


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
    i = builder.phi(INDEX)
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
    following = builder.add(i, index(step))
    for phi, first, again in [(i, index(0), following)] + [
        (s, zero, new)
        for line, news in zip(sums, added, strict=True)
        for s, new in zip(line, news, strict=True)
    ]:
        phi.add_incoming(first, before)
        phi.add_incoming(again, loop)
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    builder.position_at_end(after)
    return added


def multiply_block(columns: int, *, squared: bool = False) -> Any:
    """Build the function that multiplies `columns` columns of parameters by ``VECTORS * lanes`` rows.

    ``out[k, t] = sum_p theta[p, k] features[p, t]``, or with `squared` ``out[t] += sum_k`` of its square.
    `at`, `row` and `to` are the places of ``theta[0, 0]``, ``features[0, t]`` and ``out[0, t]``; theta has
    `columns` elements in a line; `depth`, at least 1, counts the p.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(_: Any, theta: Any, at: Any, features: Any, row: Any, out: Any, to: Any, depth: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a, b, c = (
                Array(context, builder, t, values[i]) for i, t in ((0, theta), (2, features), (4, out))
            )
            at, row, to, depth = values[1], values[3], values[5], values[6]

            def load(p: Any) -> tuple[list[Any], list[Any]]:
                return a.spread_line(at, p, columns), [b.load(b.place(row, p, v)) for v in range(VECTORS)]

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

        return types.void(theta, _INT, features, _INT, out, _INT, _INT), generate

    return block


def expand_block(columns: int) -> Any:
    """Build the function that does what `multiply_block`'s does with features that it first makes.

    ``features[p, t] = features[left[p], t] * features[right[p], t]`` for p in this order, so that left and
    right name lines before p, or lines that a product with another line of ones leaves as they are. The
    products wait for nothing but registers here; in a loop of their own they would wait for the cache.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(
        _: Any, theta: Any, left: Any, right: Any, features: Any, row: Any, out: Any, to: Any, depth: Any
    ) -> Any:
        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            a, left_lines, right_lines, b, c = (
                Array(context, builder, t, values[i])
                for i, t in ((0, theta), (1, left), (2, right), (3, features), (5, out))
            )
            row, to, depth = values[4], values[6], values[7]

            def load(p: Any) -> tuple[list[Any], list[Any]]:
                i, j = left_lines.element(p), right_lines.element(p)
                products = [
                    builder.fmul(b.load(b.place(row, i, v)), b.load(b.place(row, j, v)))
                    for v in range(VECTORS)
                ]
                for v, product in enumerate(products):
                    b.store(product, b.place(row, p, v))
                return a.spread_line(index(0), p, columns), products

            for k, line in enumerate(_sums_of_products(builder, columns, depth, 1, b.vector, load)):
                for v in range(VECTORS):
                    c.store(line[v], c.place(to, k, v))
            return context.get_dummy_value()

        return types.void(theta, left, right, features, _INT, out, _INT, _INT), generate

    return block


def accumulate_block(columns: int) -> Any:
    """Build the function that sums products of `VECTORS` lines of features with `columns` lines of weights.

    ``out[p, k] += sum_t features[p, t] weights[k, t]``; `p`, `k` and `to` are the places of
    ``features[0, 0]``, ``weights[0, 0]`` and ``out[0, 0]``; `length`, at least 1, counts the t.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def block(_: Any, features: Any, p: Any, weights: Any, k: Any, out: Any, to: Any, length: Any) -> Any:
        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            b, a, c = (
                Array(context, builder, t, values[i]) for i, t in ((0, features), (2, weights), (4, out))
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
                total = lane_sums(builder, [line[v] for line in sums])
                c.store(builder.fadd(c.load(place, columns), total), place)
            return context.get_dummy_value()

        return types.void(features, _INT, weights, _INT, out, _INT, _INT), generate

    return block


@intrinsic  # type: ignore[untyped-decorator]
def transpose_block(_: Any, rows: Any, row: Any, column: Any, origin: Any, tile: Any, to: Any) -> Any:
    """Copy `SIDE` x `SIDE` elements: ``tile[j, t] = rows[row + t, column + j] - origin[column + j]``.

    A row's elements must be contiguous; rows may be any distance apart. The subtraction is in float64. `to`
    is the place of ``tile[0, t]``.
    """
    double = ir.VectorType(ir.DoubleType(), SIDE)

    def converted(builder: Any, vector: Any, scalar: Any) -> Any:
        if vector.type.element == scalar:
            return vector
        convert = builder.fpext if isinstance(scalar, ir.DoubleType) else builder.fptrunc
        return convert(vector, ir.VectorType(scalar, SIDE))

    def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
        a, b, c = (Array(context, builder, t, values[i]) for i, t in ((0, rows), (3, origin), (4, tile)))
        row, column, to = values[1], values[2], values[5]
        origins = b.load(column, SIDE)
        lines = []
        for t in range(SIDE):
            line = converted(builder, a.load_row(builder.add(row, index(t)), column, SIDE), double.element)
            lines.append(converted(builder, builder.fsub(line, origins), c.scalar))
        for j, line in enumerate(transposed(builder, lines)):
            c.store(line, c.place(to, j))
        return context.get_dummy_value()

    return types.void(rows, _INT, _INT, origin, tile, _INT), generate
