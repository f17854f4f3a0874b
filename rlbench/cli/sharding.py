"""`rlbench run --shard I/N`: what is said of the whole after a part of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rlbench.study.plan import AnyPlan
    from rlbench.study.shards import Shard


def shard_of(ctx: click.Context) -> Shard | None:
    """Return the shard that the command line names, or None."""
    from rlbench.study.shards import parse_shard

    given = ctx.params.get("shard")
    return None if given is None else parse_shard(given)


def show_shard(ctx: click.Context, plans: Sequence[AnyPlan], shard: Shard, paths: Sequence[str]) -> None:
    """Print how much of the whole is stored, which shards still lack runs, and when a report can be written."""
    from rlbench.store import Store
    from rlbench.study.plan import cells_of, to_do
    from rlbench.study.shards import shard_of as index_of

    cells = cells_of(plans)
    left, _ = to_do(cells, Store(ctx.params["results"]))
    whole = f"Shard {shard}: {len(cells) - len(left)} of the {len(cells)} runs of all shards are stored"
    if not left:
        click.echo(f"{whole}.")
        for path in paths:
            click.echo(f"Next: rlbench report {path}")
        return
    lacking = sorted(Counter(index_of(cell, shard.count) for cell in left).items())
    missing = ", ".join(f"{number} of shard {index}/{shard.count}" for index, number in lacking)
    click.echo(f"{whole}; missing: {missing}.")
    for path in paths:
        click.echo(f"Once they are, too: rlbench report {path}")
