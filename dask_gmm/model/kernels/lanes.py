"""Arithmetic of eight rows at a time: `LANES` numbers that lie next to each other.

LLVM's vectorizer does not know that the arrays of a call are different ones, and leaves loops of eight steps
as they are; so these few steps are built in LLVM's language. Arrays are C-ordered, and places in them are
flat offsets counted in elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from dask_gmm.model.kernels.vectors import Array, spread

#: Rows that go through the same steps together.
LANES = 8

_FUSED = ("contract",)
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


def _step(n_arrays: int, compute: Callable[..., Any]) -> Any:
    """Build a function of `n_arrays` arrays, each followed by a place in it; the first one is written to."""

    def build(arguments: tuple[Any, ...]) -> Any:
        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            arrays = [Array(context, builder, arguments[2 * i], values[2 * i]) for i in range(n_arrays)]
            loaded = [array.load(values[2 * i + 1], LANES) for i, array in enumerate(arrays)]
            arrays[0].store(compute(builder, *loaded), values[1])
            return context.get_dummy_value()

        return types.void(*arguments), generate

    if n_arrays == 1:

        @intrinsic  # type: ignore[untyped-decorator]
        def of_one(_: Any, a: Any, i: Any) -> Any:
            return build((a, i))

        return of_one
    if n_arrays == 2:

        @intrinsic  # type: ignore[untyped-decorator]
        def of_two(_: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
            return build((a, i, b, j))

        return of_two

    @intrinsic  # type: ignore[untyped-decorator]
    def of_three(_: Any, a: Any, i: Any, b: Any, j: Any, c: Any, k: Any) -> Any:
        return build((a, i, b, j, c, k))

    return of_three


def _root(builder: Any, value: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    root = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f64")
    return builder.fdiv(ir.Constant(_VECTOR, [1.0] * LANES), builder.call(root, [value]))


def _fused(builder: Any, out: Any, a: Any, b: Any, *, minus: bool) -> Any:
    product = builder.fmul(a, b, flags=_FUSED)
    return (builder.fsub if minus else builder.fadd)(out, product, flags=_FUSED)


#: ``a = 1 / sqrt(a)``
inverse_root = _step(1, _root)
#: ``a = 0``
clear = _step(1, lambda builder, a: ir.Constant(_VECTOR, [0.0] * LANES))
#: ``a = b``
copy = _step(2, lambda builder, a, b: b)
#: ``a = -b``
copy_negated = _step(2, lambda builder, a, b: builder.fneg(b))
#: ``a = a b``
scale = _step(2, lambda builder, a, b: builder.fmul(a, b))
#: ``a = a + b c``
add_product = _step(3, lambda builder, a, b, c: _fused(builder, a, b, c, minus=False))
#: ``a = a - b c``
subtract_product = _step(3, lambda builder, a, b, c: _fused(builder, a, b, c, minus=True))


@intrinsic  # type: ignore[untyped-decorator]
def set_scaled(_: Any, out: Any, o: Any, factor: Any, a: Any, i: Any) -> Any:
    """``out = factor a``, for a number that all rows share."""
    return _scaled(out, o, factor, a, i, add=False)


@intrinsic  # type: ignore[untyped-decorator]
def add_scaled(_: Any, out: Any, o: Any, factor: Any, a: Any, i: Any) -> Any:
    """``out = out + factor a``, for a number that all rows share."""
    return _scaled(out, o, factor, a, i, add=True)


def _scaled(out: Any, o: Any, factor: Any, a: Any, i: Any, *, add: bool) -> Any:
    def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
        to, one = Array(context, builder, out, values[0]), Array(context, builder, a, values[3])
        product = builder.fmul(spread(builder, values[2], LANES), one.load(values[4], LANES), flags=_FUSED)
        if add:
            product = builder.fadd(to.load(values[1], LANES), product, flags=_FUSED)
        to.store(product, values[1])
        return context.get_dummy_value()

    return types.void(out, o, types.float64, a, i), generate
