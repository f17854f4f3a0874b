"""What an experiment asked, read from its JSON once; and what else a report must know of its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from rlbench.claims import Claim, from_document
from rlbench.records import Environment

JSON = Mapping[str, Any]


@dataclass(frozen=True)
class ArmEntry:
    """An arm: its `settings` are those that were given, its `fields` all that it has."""

    label: str
    algorithm: str = ""
    settings: JSON = field(default_factory=dict)
    fields: JSON = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """An experiment as it was asked.

    `environments` are labels; `unlike_registered` those that have no more than an id in common with Gymnasium's.
    `json` is the document as it is stored. Beside what was asked: the `register` of the claims, oldest entry first;
    the record of the interim analyses (`sequential`) where seeds were added in stages; of runs made elsewhere the name
    of their file (`source`), its `digest`, `notes` on what could not be used, and where they were `compared`.
    """

    name: str = ""
    question: str = ""
    design: str = ""
    arms: tuple[ArmEntry, ...] = ()
    environments: tuple[str, ...] = ()
    unlike_registered: frozenset[str] = frozenset()
    baseline: str | None = None
    claims: tuple[Claim, ...] = ()
    json: JSON = field(default_factory=dict)
    register: Sequence[JSON] = ()
    sequential: JSON | None = None
    source: str = ""
    digest: str = ""
    notes: Sequence[str] = ()
    compared: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    @staticmethod
    def read(json: JSON, **known: Any) -> Document:
        """Return the document of an experiment's JSON; `known` are the fields beside what was asked."""
        arms = [
            ArmEntry(
                str(arm.get("label") or arm.get("algorithm")),
                str(arm.get("algorithm")),
                arm.get("settings") or {},
                arm.get("fields") or {},
            )
            for arm in json.get("arms") or []
        ]
        labels = {}
        for place in json.get("environments") or []:
            named = isinstance(place, str)
            label = place if named else Environment(place["id"], place.get("options") or {}).label
            labels[label] = not named and "specification" in place
        return Document(
            name=str(json.get("name") or ""),
            question=str(json.get("question") or ""),
            design=str(json.get("design") or ""),
            arms=tuple(arms),
            environments=tuple(labels),
            unlike_registered=frozenset(label for label, unlike in labels.items() if unlike),
            baseline=json.get("baseline"),
            claims=tuple(from_document(claim) for claim in json.get("claims") or []),
            json=json,
            **known,
        )
