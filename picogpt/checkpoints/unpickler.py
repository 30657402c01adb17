"""Pickles, as far as torch's files need them: plain values are built, and nothing that a file names is ever called.

Python's own unpickler imports and calls what a file tells it to, so that a file of weights can run any command, and
it takes memory by numbers in the file. Here the standard library only tells the instructions apart, with `pickletools`.
A name stands for a function of ours or for nothing at all, and any other name is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple

from picogpt.errors import PicoGPTError, listed, shown

PICKLE_SIZE = 1 << 20  # bytes; GPT-2's largest with its optimizer has 200,000
STACK_SIZE = 10_000  # values that wait for their container; a pickler writes a thousand at a time
VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# instructions whose argument is the value itself
LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES"),
}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
INSTRUCTIONS = {
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "EMPTY_DICT", "EMPTY_LIST", "TUPLE"),
    *("APPEND", "APPENDS", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "BUILD", "BINPERSID"),
    *("BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET"),
    *(*VALUES, *LITERALS, *TUPLES),
}


class Name(NamedTuple):
    """A class or function that a pickle names, as text."""

    name: str


class Fields(dict[str, Any]):
    """The attributes of an object whose class we do not have."""


Functions = Mapping[str, Callable[..., Any] | None]  # what is called in the place of each allowed name


def unpickle(
    file: BinaryIO, source: str, functions: Functions, persistent: Callable[[Any], Any] = lambda _: None
) -> Any:
    """The value of the pickle that begins at the file's position, which is then at its end.

    `functions` are the names that it may use; `persistent` makes a value of what stands for data outside the pickle.
    Raises `PicoGPTError` for any other name and for what is not a whole pickle.
    """
    machine = Machine(source, functions, persistent)
    try:
        for name, argument in instructions(file, source):
            machine.run(name, argument)
    except PicoGPTError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error) as error:
        reason = listed([f"{type(error).__name__}: {error}"])
        raise PicoGPTError(f"{source} is not a whole pickle of a checkpoint ({reason})") from error
    return machine.stack[-1]


def instructions(file: BinaryIO, source: str) -> Iterator[tuple[str, Any]]:
    """The names and arguments of a pickle's instructions, to its last. Those in text, of before 2003, are not read."""
    import pickletools  # here and not above, since only these files need it

    known = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
    name = ""
    while name != "STOP":
        code = file.read(1)
        if code not in known:
            raise ValueError(f"{code!r} is no instruction")
        name, reader = known[code].name, known[code].arg
        if name not in INSTRUCTIONS:
            raise PicoGPTError(f"{source} uses the pickle instruction {name}, which is not read")
        if name == "GLOBAL":  # two lines as they are; pickletools would read escapes in them
            yield name, tuple(file.readline().removesuffix(b"\n").decode() for _ in range(2))
        else:
            yield name, reader.reader(file) if reader else None


class Machine:
    """The stack on which a pickle's instructions work, and the values that it has numbered."""

    def __init__(self, source: str, functions: Functions, persistent: Callable[[Any], Any]) -> None:
        self.source, self.functions, self.persistent = source, functions, persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, instruction: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        match instruction:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                [_] = stack
            case "MARK":
                self.marks.append(len(stack))
            case "POP":
                stack.pop()
            case "POP_MARK":
                self.marked()
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "TUPLE":
                stack.append(tuple(self.marked()))
            case "APPEND" | "APPENDS":
                values = self.marked() if instruction == "APPENDS" else [stack.pop()]
                self.top(list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = self.marked() if instruction == "SETITEMS" else [stack.pop(-2), stack.pop()]
                self.set_items(self.top(dict), values)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                stack.append(self.name(*argument))
            case "STACK_GLOBAL":
                stack.append(self.name(stack.pop(-2), stack.pop()))
            case "REDUCE" | "NEWOBJ":
                stack.append(self.call(stack.pop(-2), stack.pop()))
            case "BUILD":  # sets attributes; those of a state dict tell the versions of its modules
                state = stack.pop()
                if isinstance(stack[-1], Fields):
                    stack[-1].update(state)
            case "BINPERSID":
                stack.append(self.persistent(stack.pop()))
            case _ if instruction in VALUES:
                stack.append(VALUES[instruction])
            case _ if instruction in TUPLES:
                self.marks.append(len(stack) - TUPLES[instruction])
                stack.append(tuple(self.marked()))
            case _:
                stack.append(argument)
        if len(stack) > STACK_SIZE or len(self.marks) > STACK_SIZE:
            raise PicoGPTError(f"{self.source} is a pickle that piles up more than {STACK_SIZE:,} values")

    def marked(self) -> list[Any]:
        """The values above the last mark, taken from the stack."""
        mark = self.marks.pop()
        if not 0 <= mark <= len(self.stack):
            raise IndexError("a mark is not on the stack")
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise TypeError(f"{type(value).__name__} in the place of {kind.__name__}")
        return value

    @staticmethod
    def set_items(target: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
        """`values` are keys and values in turn. Other keys than texts and numbers could take for ever to hash."""
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | float | None):
                raise TypeError(f"a key is a {type(key).__name__}")
            target[key] = value
        return target

    def name(self, module: Any, name: Any) -> Name:
        full = f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else "something without a name"
        if full not in self.functions:
            raise PicoGPTError(
                f"{self.source} asks for {shown(full)}, which no file of weights needs; nothing of it was run. "
                f"If the file is yours, save the model's state_dict()"
            )
        return Name(full)

    def call(self, name: Any, arguments: Any) -> Any:
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise TypeError("what is called has no name, or no arguments")
        function = self.functions[name.name]
        return function(*arguments) if function else None
