"""Writing machine code: LLVM's instructions with Python's loops around them.

In: calls that describe what a function does. Out: the function, compiled for this processor. Does not know: what is
computed. Imported only where `available`.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import llvmlite.binding as llvm  # noqa: TID253 - this module is imported only where a kernel is made
from llvmlite import ir  # noqa: TID253


class _BFloat16(ir.types._BaseFloatType):  # type: ignore[misc]  # llvmlite carries no types, and has no bfloat of its own
    null = "0.0"
    intrinsic_name = "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat16._create_instance()

BIT, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
DOT = "llvm.x86.avx512bf16.dpbf16ps.512"
"""Sum of 16 float32 and the products of 16 pairs of bfloat16: ``(sums, pairs, pairs)``."""
FLOAT, BFLOAT16, POINTER = ir.FloatType(), _BFloat16(), ir.PointerType()


def vector(kind: Any, count: int) -> Any:
    """Return the type of ``count`` numbers in one register."""
    return ir.VectorType(kind, count)


def constant(kind: Any, value: Any) -> Any:
    """Return a constant: of a vector, one number for all lanes or a list with one for each."""
    if isinstance(kind, ir.VectorType) and not isinstance(value, list):
        value = [value] * kind.count
    return ir.Constant(kind, value)


class Int:
    """A 64-bit integer of the code being written, with Python's ``+`` and ``*``."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder = builder
        self.value = ir.Constant(I64, value) if isinstance(value, int) else value

    def __add__(self, other: Int | int) -> Int:
        return Int(self.builder, self.builder.add(self.value, Int(self.builder, _raw(other)).value))

    def __mul__(self, other: Int | int) -> Int:
        return Int(self.builder, self.builder.mul(self.value, Int(self.builder, _raw(other)).value))


def _raw(number: Int | int) -> Any:
    return number.value if isinstance(number, Int) else number


class Module(ir.Module):  # type: ignore[misc]
    """Functions that are compiled together."""


class Function:
    """A function that is being written. Its arguments are addresses, and the first and last part to work on.

    Args:
        module: The LLVM module it is part of.
        name: Its name.
        arguments: Names of the addresses.
    """

    def __init__(self, module: Any, name: str, arguments: Sequence[str]) -> None:
        self.module = module
        kind = ir.FunctionType(ir.VoidType(), [POINTER] * len(arguments) + [I64, I64])
        self.function = ir.Function(module, kind, name)
        self._top = ir.IRBuilder(self.function.append_basic_block("variables"))
        self.b = ir.IRBuilder(self.function.append_basic_block("body"))
        self.arguments = dict(zip(arguments, self.function.args, strict=False))
        self._first, self._end = self.function.args[-2:]

    def parts(self) -> contextlib.AbstractContextManager[Int]:
        """Loop over the parts that a call names: some of the images of a batch, or some filters."""
        return self.loop(Int(self.b, self._end), start=Int(self.b, self._first))

    @contextlib.contextmanager
    def loop(self, end: Int | int, *, start: Int | int = 0, step: int = 1) -> Iterator[Int]:
        """Loop while the index is below ``end``."""
        b = self.b
        before = b.block
        head, body, after = (self.function.append_basic_block(name) for name in ("head", "loop", "after"))
        begin, stop = Int(b, _raw(start)).value, Int(b, _raw(end)).value
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(begin, before)
        b.cbranch(b.icmp_signed("<", index, stop), body, after)
        b.position_at_end(body)
        yield Int(b, index)
        index.add_incoming(b.add(index, ir.Constant(I64, step)), b.block)
        b.branch(head)
        b.position_at_end(after)

    @contextlib.contextmanager
    def bits(self, mask: Any) -> Iterator[Int]:
        """Loop over the positions of the set bits of a 32-bit ``mask``, lowest first."""
        b = self.b
        left = self.variable(I32)
        b.store(mask, left)
        head, body, after = (self.function.append_basic_block(name) for name in ("head", "bit", "after"))
        b.branch(head)
        b.position_at_end(head)
        now = b.load(left, typ=I32)
        b.cbranch(b.icmp_unsigned("!=", now, ir.Constant(I32, 0)), body, after)
        b.position_at_end(body)
        b.store(b.and_(now, b.sub(now, ir.Constant(I32, 1))), left)
        yield Int(b, b.zext(b.cttz(now, ir.Constant(BIT, 1)), I64))
        b.branch(head)
        b.position_at_end(after)

    def variable(self, kind: Any) -> Any:
        """Return the address of a variable; LLVM keeps it in a register."""
        return self._top.alloca(kind)

    def set(self, variable: Any, value: Any) -> None:
        """Give a `variable` a value."""
        self.b.store(value, variable)

    def get(self, variable: Any, kind: Any) -> Any:
        """Return the value of a `variable`."""
        return self.b.load(variable, typ=kind)

    def at(self, base: Any, index: Int | int, kind: Any) -> Any:
        """Return the address of element ``index`` of an array of ``kind`` at ``base`` (an address or an argument)."""
        base = self.arguments[base] if isinstance(base, str) else base
        return self.b.gep(base, [Int(self.b, _raw(index)).value], source_etype=kind)

    def load(self, base: Any, index: Int | int, kind: Any, count: int = 1) -> Any:
        """Return ``count`` numbers that start at element ``index``: one number, or a register of them."""
        address = self.at(base, index, kind)
        return self.b.load(address, typ=kind if count == 1 else vector(kind, count), align=_size(kind))

    def store(self, value: Any, base: Any, index: Int | int, kind: Any) -> None:
        """Write a number or a register to element ``index`` of an array of ``kind``."""
        self.b.store(value, self.at(base, index, kind), align=_size(kind))

    def load_index(self, base: Any, index: Int | int) -> Int:
        """Return an int32 of an array as an `Int`."""
        return Int(self.b, self.b.zext(self.load(base, index, I32), I64))

    def store_index(self, value: Int, base: Any, index: Int | int) -> None:
        """Write an `Int` to an array of int32."""
        self.store(self.b.trunc(value.value, I32), base, index, I32)

    def fma(self, one: Any, other: Any, total: Any) -> Any:
        """Return ``one * other + total`` of registers of float32, rounded once."""
        return self.call(f"llvm.fma.v{total.type.count}f32", total.type, one, other, total)

    def integer(self, value: Any) -> Int:
        """Return a 64-bit value, or a Python integer, as an `Int`."""
        return Int(self.b, value)

    def difference(self, one: Int, other: Int) -> Int:
        """Return ``one - other``."""
        return Int(self.b, self.b.sub(one.value, other.value))

    def smaller(self, one: Int, other: Int) -> Int:
        """Return the smaller of two integers."""
        return Int(self.b, self.b.select(self.b.icmp_signed("<", one.value, other.value), one.value, other.value))

    def call(self, name: str, kind: Any, *arguments: Any) -> Any:
        """Call one of LLVM's own functions (an intrinsic) that returns a ``kind``."""
        known = self.module.globals.get(name)
        if known is None:
            known = ir.Function(self.module, ir.FunctionType(kind, [value.type for value in arguments]), name)
        return self.b.call(known, arguments)

    def splat(self, value: Any, count: int) -> Any:
        """Return a register with ``value`` in all lanes."""
        kind = vector(value.type, count)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
        return self.b.shuffle_vector(one, one, constant(vector(I32, count), 0))

    def shuffle(self, one: Any, other: Any, order: Sequence[int]) -> Any:
        """Return lanes of two registers; the numbers of the second one's lanes follow those of the first one's."""
        return self.b.shuffle_vector(one, other, constant(vector(I32, len(order)), [int(lane) for lane in order]))

    def end(self) -> None:
        """Finish the function."""
        self.b.ret_void()
        self._top.branch(self.function.blocks[1])


def _size(kind: Any) -> int:
    return {str(I8): 1, str(I16): 2, str(BFLOAT16): 2, str(I32): 4, str(FLOAT): 4, str(I64): 8}[str(kind)]


class Compiled:
    """The functions of a module. They are called as ``compiled("name", addresses, first, end)`` and release the GIL.

    Args:
        module: A module of finished functions.
    """

    def __init__(self, module: Module) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        # Use registers of 512 bits as written, also where LLVM prefers 256.
        features = f"{llvm.get_host_cpu_features().flatten()},-prefer-256-bit"
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=3, jit=True
        )
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(parsed, passes)
        self._engine = llvm.create_mcjit_compiler(parsed, machine)  # the code lives as long as this
        self._engine.finalize_object()
        self._functions = {
            function.name: self._callable(function) for function in module.functions if not function.is_declaration
        }

    def __call__(self, name: str, addresses: Sequence[int], first: int, end: int) -> None:
        """Call a function.

        Args:
            name: Which one.
            addresses: Of its arrays, in the order of its arguments.
            first: The first image.
            end: The one after the last.
        """
        self._functions[name](*addresses, first, end)

    def _callable(self, function: Any) -> Callable[..., None]:
        arguments = [ctypes.c_void_p] * (len(function.args) - 2) + [ctypes.c_int64] * 2
        return ctypes.CFUNCTYPE(None, *arguments)(self._engine.get_function_address(function.name))
