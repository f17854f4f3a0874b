"""The labels of arms, and short ones where they differ in little: what all of them share is said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlbench.analysis.results import Results


def arms_by_label(results: Results) -> dict[str, Mapping[str, Any]]:
    """Return the arms of an experiment's document by their labels."""
    return {str(arm.get("label") or arm.get("algorithm")): arm for arm in results.experiment.get("arms") or []}


def short_labels(arms: Sequence[str]) -> tuple[str, list[str]]:
    """Return what the labels have in common, and each label without it.

    `ppo-clip clip=0.1`, `ppo-clip clip=0.2` give `ppo-clip, clip` and `0.1`, `0.2`. Labels that would become empty or
    equal stay as they are.
    """
    words = [arm.split() for arm in arms]
    shared = [word for word in words[0] if all(word in other for other in words[1:])]
    rest = [[word for word in own if word not in shared] for own in words]
    if len(arms) < 2 or not all(rest):
        return "", list(arms)
    keys = {word.partition("=")[0] for own in rest for word in own if "=" in word}
    if len(keys) == 1 and all(len(own) == 1 and "=" in own[0] for own in rest):
        shared = [*shared, *keys]
        rest = [[own[0].partition("=")[2]] for own in rest]
    short = [" ".join(own) for own in rest]
    if len(set(short)) < len(arms) or not all(short):
        return "", list(arms)
    return ", ".join(shared), short
