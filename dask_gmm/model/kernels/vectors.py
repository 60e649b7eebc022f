"""Vector registers in LLVM's language: what the builders in `registers` are made of.

Arrays are C-ordered, and places in them are flat offsets counted in elements, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target

_, _, _features = cpu_target.target_context.codegen().magic_tuple()
#: Whether numba compiles for a processor with 32 registers of 64 bytes (NUMBA_CPU_NAME may name another).
WIDE = "+avx512f" in _features.split(",")
#: Width of a vector: one of AVX-512, else one of AVX2 or two of NEON.
VECTOR_BYTES = 64 if WIDE else 32

INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


def index(value: int) -> ir.Constant:
    """Return a constant of the type of an index."""
    return ir.Constant(INDEX, value)


def shuffle(builder: Any, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    """Return the given lanes of a and b, counted on from a to b."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_LANE, len(lanes)), list(lanes)))


def spread(builder: Any, value: Any, lanes: int) -> Any:
    """Copy a number to all lanes of a vector."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_LANE, 0))
    return shuffle(builder, first, undefined, [0] * lanes)


class Array:
    """An array argument inside a builder: vectors to load and store at flat offsets."""

    def __init__(self, context: Any, builder: Any, array_type: types.Array, value: Any) -> None:
        array = context.make_array(array_type)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.line = cgutils.unpack_tuple(builder, array.shape)[-1]
        self.row_bytes = cgutils.unpack_tuple(builder, array.strides)[0]
        self.bytes = array_type.dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.scalar = ir.DoubleType() if self.bytes == 8 else ir.FloatType()
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def place(self, offset: Any, line: Any = 0, vector: int = 0) -> Any:
        """Return the offset of the given line and vector, counted from an offset."""
        lines = self.builder.mul(self.line, index(line) if isinstance(line, int) else line)
        return self.builder.add(self.builder.add(offset, lines), index(vector * self.lanes))

    def _pointer(self, offset: Any, lanes: int) -> Any:
        first = self.builder.gep(self.data, [offset])
        return self.builder.bitcast(first, ir.VectorType(self.scalar, lanes).as_pointer())

    def load(self, offset: Any, lanes: int | None = None) -> Any:
        """Load a vector."""
        value = self.builder.load(self._pointer(offset, lanes or self.lanes))
        value.align = self.bytes
        return value

    def load_row(self, row: Any, column: Any, lanes: int) -> Any:
        """Load contiguous elements of an array whose rows may be any distance apart, aligned or not."""
        elements = self.builder.mul(column, index(self.bytes))
        start = self.builder.add(self.builder.mul(row, self.row_bytes), elements)
        first = self.builder.gep(self.builder.bitcast(self.data, ir.IntType(8).as_pointer()), [start])
        value = self.builder.load(self.builder.bitcast(first, ir.VectorType(self.scalar, lanes).as_pointer()))
        value.align = 1
        return value

    def store(self, value: Any, offset: Any) -> None:
        """Store a vector."""
        self.builder.store(value, self._pointer(offset, value.type.count)).align = self.bytes

    def element(self, offset: Any) -> Any:
        """Load one element."""
        return self.builder.load(self.builder.gep(self.data, [offset]))

    def spread_line(self, offset: Any, line: Any, columns: int) -> list[Any]:
        """Return the elements of a line of `columns`, each copied to every lane."""
        first = self.builder.add(offset, self.builder.mul(line, index(columns)))
        places = (self.builder.add(first, index(k)) for k in range(columns))
        return [spread(self.builder, self.element(place), self.lanes) for place in places]


def interleaved(builder: Any, a: Any, b: Any, group: int) -> tuple[Any, Any]:
    """Exchange every second `group` of a's lanes with the group before it in b, a step in a transposition."""
    lanes = range(a.type.count)
    first = [lane if lane // group % 2 == 0 else lane - group + len(lanes) for lane in lanes]
    second = [lane + group if lane // group % 2 == 0 else lane + len(lanes) for lane in lanes]
    return shuffle(builder, a, b, first), shuffle(builder, a, b, second)


def transposed(builder: Any, lines: list[Any]) -> list[Any]:
    """Transpose as many vectors as they have lanes."""
    group = 1
    while group < len(lines):
        for i in range(len(lines)):
            if i // group % 2 == 0:
                lines[i], lines[i + group] = interleaved(builder, lines[i], lines[i + group], group)
        group *= 2
    return lines


def lane_sums(builder: Any, vectors: list[Any]) -> Any:
    """Sum each of m vectors over its lanes; the answer is a float64 vector of m lanes (a power of two)."""
    count, lanes, group = len(vectors), vectors[0].type.count, 1
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.fadd(*interleaved(builder, a, b, group)) for a, b in pairs]
        group *= 2
    total = vectors[0]
    if isinstance(total.type.element, ir.FloatType):
        total = builder.fpext(total, ir.VectorType(ir.DoubleType(), lanes))
    while lanes > count:
        lanes //= 2
        low, high = range(lanes), range(lanes, 2 * lanes)
        total = builder.fadd(shuffle(builder, total, total, low), shuffle(builder, total, total, high))
    return total
