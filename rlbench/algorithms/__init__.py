"""The built-in algorithms in a checkout: this file sends Python to the folder `algorithms` at the top.

Whoever writes a plugin looks there for an example. The build puts that folder in the place of this one
(`package-dir` in pyproject.toml), so an installed rlbench does not contain this file.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "algorithms")]
