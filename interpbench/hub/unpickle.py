"""Read plain data from a pickle without running any of it.

A pickle is a program: its instructions name functions, and Python's unpickler imports and calls them. Here the
stream is only parsed (by `pickletools`), and the few instructions that build plain data are carried out; the names
it may hold are those of `ADMITTED`, and each stands for a maker of plain data of ours. Nothing is imported, nothing of
the stream's is called, and what is made grows with the length of the stream alone, whatever sizes it states.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from interpbench.errors import kind_and_line, shown


@dataclass
class Dtype:
    """What we need of a `numpy.dtype`: how a number of it lies in memory."""

    code: str
    order: str = "<"


@dataclass(frozen=True)
class Maker:
    """What a name in the stream stands for if it is one that is called."""

    make: Callable[..., Any]


def _dtype(code: Any, align: Any = False, copy: Any = True) -> Dtype:
    return Dtype(_expect(code, str))


def _scalar(dtype: Any, data: Any) -> Any:
    form = _ORDERS[_expect(dtype, Dtype).order] + _FORMATS[dtype.code]
    return struct.unpack(form, _expect(data, bytes))[0]


def _device(kind: Any, index: Any = 0) -> str:
    return _expect(kind, str)


_ORDERS = {"<": "<", ">": ">", "=": "=", "|": "="}
_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "b1": "?"}
_CONFIGS = ("HookedTransformerConfig", "config.HookedTransformerConfig", "config.hooked_transformer_config")
ADMITTED: Mapping[str, Any] = {
    **{f"{core}.multiarray.scalar": Maker(_scalar) for core in ("numpy.core", "numpy._core")},
    "numpy.dtype": Maker(_dtype),
    "torch.device": Maker(_device),
    **{name: name for name in ("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")},
    **{f"transformer_lens.{module}.HookedTransformerConfig": Maker(lambda: {}) for module in _CONFIGS},
}
"""Names that a stream may hold. A configuration object becomes a dict of its fields, a number an ordinary number."""

_SKIPPED = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = set(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8""".split()
)
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


def read_plain(data: bytes) -> Any:
    """The plain data that a pickle holds. Raises ValueError, naming it, for anything else in the stream."""
    try:
        return _carry_out(data)
    except (IndexError, KeyError, TypeError, struct.error) as error:
        raise ValueError(f"damaged pickle: {kind_and_line(error)}") from None


def _carry_out(data: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for instruction, raw, _ in pickletools.genops(data):
        name, argument = instruction.name, cast(Any, raw)
        if name in _SKIPPED:
            continue
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _TUPLES:
            stack.append(tuple(_take(stack, _TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(_marked(stack)))
        elif name in ("APPEND", "APPENDS"):
            items = _take(stack, 1) if name == "APPEND" else _marked(stack)
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = _take(stack, 2) if name == "SETITEM" else _marked(stack)
            keys = [_expect(key, str) for key in items[::2]]  # of others even the hash may take for ever
            _expect(stack[-1], dict).update(zip(keys, items[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(_admitted(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            stack.append(_admitted(".".join(_expect(word, str) for word in _take(stack, 2))))
        elif name in ("REDUCE", "NEWOBJ"):
            maker, arguments = _take(stack, 2)
            stack.append(_expect(maker, Maker).make(*_expect(arguments, tuple)))
        elif name == "BUILD":
            _build(stack.pop(), stack[-1])
        elif name == "STOP":
            return stack.pop()
        else:
            raise ValueError(f"the pickle instruction {name} is not admitted")
    raise ValueError("damaged pickle: it does not end")


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _take(stack: list[Any], count: int) -> list[Any]:
    """Take the last few values off the stack."""
    return [stack.pop() for _ in range(count)][::-1]


def _marked(stack: list[Any]) -> list[Any]:
    """Take what stands above the last mark off the stack, and the mark."""
    values = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]


def _admitted(name: str) -> Any:
    if name not in ADMITTED:
        raise ValueError(f"the pickle names {shown(name)}, which is not admitted")
    return ADMITTED[name]


def _build(state: Any, target: Any) -> None:
    """Give a configuration its fields, or a dtype its byte order."""
    if isinstance(target, Dtype):
        target.order = _expect(state, tuple)[1]
    else:
        _expect(target, dict).update(_expect(state, dict))
