"""The experiments that come with rlbench, in a checkout: this file stands for the folder `experiments` at the top.

`rlbench lecture --copy` gives them out. The build puts that folder in the place of this one, as it does with
`rlbench.algorithms`.
"""

from pathlib import Path

__path__ = [str(Path(__file__).parents[2] / "experiments")]
