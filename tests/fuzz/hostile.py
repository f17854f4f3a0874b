"""Values that a careless or hostile hand could put anywhere: as Python source, as JSON, and as text."""

from __future__ import annotations

from typing import Any

TEXTS = [
    "",
    " ",
    ".",
    "..",
    "../x",
    "../../bystander.txt",
    "/etc/passwd",
    "/tmp/rlbench-hostile",
    "~",
    "-rf",
    "--debug",
    ".hidden",
    "store",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\rb\tc",
    "\x1b[31mred",
    "x" * 300,
    "x" * 5000,
    "ä" * 200,
    "日本語",
    "\u202egnp.exe",
    "\u2028",
    "\U0001f4a9",
    "\ud800",
    "\ufeffbom",
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "{% raw %}",
    "%s%n{0}",
    "$\\frac{1}{",
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "*",
    "[a-z]*",
    "nan",
    "inf",
    "1e999",
    "-0",
    "0x10",
    "1_000",
    "١٢",
    "None",
    "True",
    "ppo-clip",
    "CartPole-v1",
]
"""Names, labels and sentences."""

SOURCES = [
    *(repr(text) for text in TEXTS),
    "None",
    "True",
    "False",
    "0",
    "-1",
    "10**12",
    "10**400",
    "-10**30",
    "1.5",
    "1e300",
    "float('nan')",
    "float('inf')",
    "3+4j",
    "b'x'",
    "()",
    "[]",
    "{}",
    "[[]]",
    "[None]",
    "['a', 'a']",
    "[0, 0]",
    "[-1]",
    "[10**40]",
    "[1.5, 'x']",
    "{'a': {}}",
    "{1: 2}",
    "{'x'}",
    "object()",
    "lambda: 0",
    "print",
    "int",
    "type",
    "range(10**12)",
    "range(0)",
    "iter([1])",
    "(one for one in [1, 1])",
    "itertools.count()",
    "deep(3000)",
    "Rude()",
    "Arm('ppo-clip')",
    "[Arm('ppo-clip'), Arm('ppo-clip')]",
    "[Arm('ppo-clip', lr=[0.1, float('nan')])]",
    "[Arm('ppo-clip', horizon=10**12, hidden=[10**9])]",
    "Environment('CartPole-v1')",
    "[Environment('CartPole-v1', {'x': object()})]",
    "[Environment('CartPole-v1', {'\\n': 1})]",
    "[Environment('CartPole-v1', deep(3000))]",
    "[Environment('CartPole-v1', 5)]",
    "[Environment(5)]",
    "Claim('x', ['a', 'b'], 'greater')",
    "np.arange(3)",
    "np.float64('nan')",
    "Arm",
    "Experiment",
]
"""Python expressions, for the arguments of an experiment."""

PRELUDE = """
import itertools
import numpy as np
from rlbench import Arm, Claim, Environment, Experiment, Measurement

def deep(n):
    made = []
    for _ in range(n):
        made = [made]
    return made

class Rude:
    def __getattr__(self, name):
        raise ZeroDivisionError(name)
    def __repr__(self):
        raise ZeroDivisionError("repr")
    def __eq__(self, other):
        raise ZeroDivisionError("eq")
    __hash__ = None
"""


def deep(levels: int) -> Any:
    """Return a list in a list in a list."""
    made: Any = []
    for _ in range(levels):
        made = [made]
    return made


VALUES: list[Any] = [
    *TEXTS,
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    10**400,
    0.5,
    -0.5,
    1e308,
    1e-300,
    float("nan"),
    float("inf"),
    -float("inf"),
    [],
    {},
    [[]],
    [None],
    [1, "a", None],
    {"": ""},
    {"a": {"b": []}},
    {"label": "x"},
    deep(200),
    ["x"] * 1000,
]
"""JSON values, for every key of a document."""
