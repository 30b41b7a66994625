"""Making bad files out of good ones: bytes are damaged, values of trees replaced, all from one seed.

The same random generator gives the same file, on every machine.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from typing import Any

import yaml

type Mutation = Callable[[bytes, random.Random], bytes]

TEXTS: tuple[str, ...] = (
    "", " ", "\x00", "\x1b[2J", "\n", "a\nb", "\r\n", "\u202e", "\ufeff", "\ud800", "é", "💥",
    "'", '"', "`id`",
    "$(id)", "${HOME}", "${NOT_SET}", "$HOME", "<ENV:HOME>", "{output}", "{wmsX}",
    "bpsEval(a, b)", "; rm -rf /",
    "a;b", "a b", "a,b", "-x", "--help", "../..", "/dev/zero", "/dev/null", "/", "~", "~root",
    "#", "a#b", "[x]",
    "[/x]", "%s%n", "\\", "a\\", "=", "<<", "*a", "&a", "!!bool x",
    "!!python/object:os.system x", "!include x",
    "1e999", ".nan", ".inf", "00010101-99991231", "1-999999", "0-999999999999", "99999999999999999999",
    "20210230", "20210318-20210401", "9-1", "10:00:00", "99999999-10:00:00", "yes", "null", "1" * 4000,
    "x" * 5000, "(" * 200, "(a+)+$", "1=1) OR (1=1", "null", "true", "2021-01-01T00:00:00",
)  # fmt: skip
"""Texts that mean something to one of those who read them."""

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**4000, 1e308, 1e-308, float("nan"),
    float("inf"), float("-inf"), 0.5, -0.0,
)  # fmt: skip

BYTES: tuple[bytes, ...] = (
    b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\n", b"\t", b"\r", b": ", b"- ", b"[",
    b"]", b"{", b"}",
    b"&a ", b"*a", b"<<: *a\n", b"!!", b"? ", b"| ", b"> ", b"'", b'"', b"#", b"%YAML 9.9\n",
    b"---\n", b"...\n",
    b"NaN", b"Infinity", b"1e999", b"\\u0000", b"\\ud800", b'"\\x1b"', b"\xe2\x80\xae", b"9" * 400,
)  # fmt: skip
"""Pieces that formats trip over."""


def mutated(seed: bytes, others: tuple[bytes, ...], generator: random.Random, *, kind: str) -> bytes:
    """Return a damaged copy of a good file.

    Parameters
    ----------
    seed : `bytes`
        The good file.
    others : `tuple` [`bytes`, ...]
        Files of which pieces may be put in.
    generator : `random.Random`
        Where chance comes from.
    kind : `str`
        ``yaml``, ``json``, ``lines`` (JSON lines) or ``text``.
    """
    made = seed
    steps = generator.choice((1, 1, 1, 2, 3))
    trees = 0 if kind == "text" else sum(generator.random() < 0.65 for _ in range(steps))
    # Trees first: what damaged bytes say of a tree may be more than can be built.
    for _ in range(trees):
        made = _tree(made, generator, kind=kind)
    for _ in range(steps - trees):
        made = _bytes(made, others, generator)
    return made


# -- bytes -------------------------------------------------------------------------------------------------


def _bytes(seed: bytes, others: tuple[bytes, ...], generator: random.Random) -> bytes:
    mutation = generator.choice((_flip, _cut, _drop, _insert, _insert, _repeat, _nest, _bomb, _encode))
    if others and generator.random() < 0.1:
        return _splice(seed, generator.choice(others), generator)
    return mutation(seed, generator)


def _place(data: bytes, generator: random.Random) -> int:
    return generator.randrange(len(data) + 1)


def _flip(data: bytes, generator: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 8))):
        if made:
            made[generator.randrange(len(made))] ^= 1 << generator.randrange(8)
    return bytes(made)


def _cut(data: bytes, generator: random.Random) -> bytes:
    return data[: _place(data, generator)]


def _drop(data: bytes, generator: random.Random) -> bytes:
    start = _place(data, generator)
    return data[:start] + data[start + generator.choice((1, 2, 10, 100)) :]


def _insert(data: bytes, generator: random.Random) -> bytes:
    at = _place(data, generator)
    return data[:at] + generator.choice(BYTES) + data[at:]


def _repeat(data: bytes, generator: random.Random) -> bytes:
    start = _place(data, generator)
    piece = data[start : start + generator.choice((1, 20, 300))]
    return data[:start] + piece * generator.choice((2, 3, 50)) + data[start:]


def _nest(data: bytes, generator: random.Random) -> bytes:
    at = _place(data, generator)
    opened = generator.choice((b"[", b"{", b'{"a":', b"- ", b"? ", b"[["))
    return data[:at] + opened * generator.choice((3, 40, 3000, 30_000)) + data[at:]


def _bomb(data: bytes, generator: random.Random) -> bytes:
    wide, deep = generator.choice(((10, 9), (2, 40), (3, 5)))
    merged = generator.random() < 0.3
    lines = ["b0: &b0 {k: x}" if merged else "b0: &b0 [x]"]
    for level in range(1, deep):
        inner = ", ".join([f"*b{level - 1}"] * wide)
        lines.append(f"b{level}: &b{level} " + (f"{{<<: [{inner}]}}" if merged else f"[{inner}]"))
    return ("\n".join(lines) + "\n").encode() + data


def _encode(data: bytes, generator: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(generator.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")), "replace")


def _splice(data: bytes, other: bytes, generator: random.Random) -> bytes:
    return data[: _place(data, generator)] + other[_place(other, generator) :]


# -- trees -------------------------------------------------------------------------------------------------


def _tree(data: bytes, generator: random.Random, *, kind: str) -> bytes:
    try:
        if kind == "yaml":
            return _dumped(_changed(yaml.load(data, Loader=yaml.CSafeLoader), generator))
        if kind == "json":
            return json.dumps(_changed(json.loads(data), generator)).encode()
        lines = data.splitlines() or [b"{}"]
        at = generator.randrange(len(lines))
        lines[at] = json.dumps(_changed(json.loads(lines[at]), generator)).encode()
        return b"\n".join(lines) + b"\n"
    except Exception:  # noqa: BLE001 - what is damaged already is damaged further
        return _insert(data, generator)


def _dumped(tree: Any) -> bytes:
    return yaml.dump(tree, Dumper=yaml.CSafeDumper, sort_keys=False).encode("utf-8", "surrogatepass")


def _changed(tree: Any, generator: random.Random) -> Any:
    """Return a tree with one value or key changed."""
    places = list(_places(tree))
    if not places:
        return _value(generator)
    holder, key = generator.choice(places)
    what = generator.random()
    if what < 0.55:
        holder[key] = _value(generator, like=holder[key])
    elif what < 0.7:
        del holder[key]
    elif what < 0.85 and isinstance(holder, dict):
        holder[_key(generator)] = holder.pop(key)
    elif isinstance(holder, list):
        holder.extend([holder[key]] * generator.choice((1, 2, 500)))
    else:
        other, place = generator.choice(places)
        holder[key] = _copied(other[place])
    return tree


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _places(tree: Any) -> Any:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield tree, key
            yield from _places(value)
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield tree, index
            yield from _places(value)


def _key(generator: random.Random) -> Any:
    return generator.choice(
        (
            generator.choice(TEXTS),
            1,
            True,
            None,
            0.5,
            "k" * 300,
            "".join(generator.sample(string.ascii_letters, 3)),
        )
    )


def _value(generator: random.Random, *, like: Any = None) -> Any:
    """Return a hostile value, half of the time of the type that was there."""
    if isinstance(like, str) and like and generator.random() < 0.5:
        at = generator.randrange(len(like) + 1)
        return like[:at] + generator.choice(TEXTS) + like[at:]
    if isinstance(like, int) and generator.random() < 0.5:
        return generator.choice(NUMBERS)
    return generator.choice(
        (
            generator.choice(TEXTS),
            generator.choice(TEXTS),
            generator.choice(NUMBERS),
            None,
            generator.random() < 0.5,
            [],
            {},
            [generator.choice(TEXTS)] * generator.choice((1, 3, 300)),
            {generator.choice(TEXTS): generator.choice(NUMBERS)},
            _deep(generator.choice((2, 40, 300))),
            list(range(generator.choice((5, 2000)))),
            [f"{start}-{start + 999_998}" for start in range(0, 40_000_000, 1_000_000)],
        )
    )


def _deep(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value
