"""The labels of arms, and short ones where they differ in little: what all of them share is said once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


def arms_by_label(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the arms of an experiment's document by their labels."""
    return {str(arm.get("label") or arm.get("algorithm")): arm for arm in results.experiment.get("arms") or []}


def short_labels(arms: Sequence[str]) -> tuple[str, list[str]]:
    """Return how the labels begin (else: end), word by word, and each label without it.

    `ppo-clip clip=0.1`, `ppo-clip clip=0.2` give `ppo-clip, clip` and `0.1`, `0.2`; `10 actions`, `100 actions` give
    `actions` and `10`, `100`. Labels of different numbers of words stay as they are.
    """
    words = [arm.split() for arm in arms]
    length = len(words[0])
    if len(arms) < 2 or any(len(own) != length for own in words):
        return "", list(arms)
    same = [len({own[place] for own in words}) == 1 for place in range(length)]
    begin = same.index(False) if False in same else 0
    end = same[::-1].index(False) if False in same and not begin else 0
    shared, rest = words[0][:begin] + words[0][length - end :], [own[begin : length - end] for own in words]
    keys = {own[0].partition("=")[0] for own in rest if len(own) == 1 and "=" in own[0]}
    if len(keys) == 1 and all(len(own) == 1 and "=" in own[0] for own in rest):
        return ", ".join([*([" ".join(shared)] if shared else []), *keys]), [own[0].partition("=")[2] for own in rest]
    return " ".join(shared).rstrip(","), [" ".join(own).rstrip(",") for own in rest]


def place_name(environment: str) -> str:
    """Return the label of an environment without its version, for figures: `CartPole`."""
    return re.sub(r"-v\d+(?=$|\()", "", environment)
