"""The measurements as a Markdown page: what was aimed at, and one table per group."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.breakdown import ROWS
from benchmarks.cases import ALGORITHMS, ENVIRONMENT, JOB_SEEDS, MUJOCO, REPLICAS, SETTINGS
from benchmarks.results import Measurement, measurements, slowed, spread

NEVER_RISES = 1.05
"""What counts as no rise of the cost per replica with R, given the noise."""

BUSY = 0.1
"""Cores kept busy by other processes from which the page says that the machine was shared."""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of a document; groups that were not measured are left out."""
    found = measurements(document)
    parts = ["# Benchmarks\n", machine(document), _slow(found), "\n".join(_SETTINGS)]
    for title, section in _SECTIONS.items():
        if text := section(found):
            parts.append(f"## {title}\n\n{text}")
    return "\n".join(parts)


def machine(document: Mapping[str, Any]) -> str:
    """Return in a few sentences where and when this was measured."""
    it, versions = document["machine"], document["versions"]
    others = document["cores_used_by_others"]
    shared = (
        f"Other processes kept {others:g} cores busy on average meanwhile (load average before: "
        f"{document['load_before']:g})."
        if others is not None
        else f"Load average before: {document['load_before']:g}."
    )
    if others is not None and others >= BUSY:
        shared += (
            " **The machine was shared: take times, and ratios of work on one core to work on two, with caution.**"
        )
    quick = "\n**Tiny sizes (--quick): not to be quoted.**\n" if document["quick"] else ""
    commit = f"{(document['commit'] or 'unknown')[:12]}{' with changes' if document['dirty'] else ''}"
    packages = ", ".join(f"{name} {version}" for name, version in versions.items() if version and name != "rlbench")
    return (
        f"Commit {commit}, {document['created'][:10]}. {it['processor']}, {it['cpus']} cores, {it['memory_gib']} GiB; "
        f"{it['system']}; {packages}. {shared} Numbers are the median (smallest to largest) of the repetitions.\n"
        f"{quick}"
    )


def _slow(found: list[Measurement]) -> str:
    """Return which benchmarks to distrust because the machine was slow during all their rounds."""
    slow = slowed(found)
    if not slow:
        return ""
    names = ", ".join(f"{name} ({factor:.2f})" for name, factor in slow.items())
    return (
        "**The machine was slow during these**, by what the calibration workload took beside them, as a factor of its "
        f"best in this run; the interpreter suffers more, so their numbers are too high: {names}.\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def targets(found: list[Measurement]) -> str:
    """Return what was aimed at and what was reached, as ratios within this run."""
    rows = []
    for what, aim, at_most, reached in _aims(found):
        met = reached <= aim if at_most else reached >= aim
        missed = reached / aim if at_most else aim / reached
        verdict = "met" if met else f"missed by a factor {missed:.2f}"
        rows.append([what, f"{'at most' if at_most else 'at least'} {aim:g}", f"{reached:.3g}", verdict])
    return table(["ratio, of medians", "aim", "measured", ""], rows) if rows else ""


def _aims(found: list[Measurement]) -> list[tuple[str, float, bool, float]]:
    """Return (what, aim, whether it is an upper bound, what was reached)."""
    aims: list[tuple[str, float, bool, float]] = []
    for one in _of(found, "job"):
        place, setting = one.info.get("environment", ENVIRONMENT), one.info["setting"]
        if one.reference:
            text = f"{JOB_SEEDS} seeds on {place}, whole job, times as fast as Stable-Baselines3, ({setting})"
            bar = 10.0 if place in MUJOCO else {"a": 25.0, "b": 20.0}[setting]
            aims.append((text, bar, False, median(one.ratios())))
    for one in _of(found, "physics"):
        text = f"{one.info['environment']}: steps per second to those of the simulator alone"
        aims.append((text, 0.8, False, median(one.ratios())))
    for one in _of(found, "single"):
        text = f"one run on one core, times as fast as Stable-Baselines3, ({one.info['setting']})"
        aims.append((text, 6.0, False, median(one.ratios())))
    for setting in SETTINGS:
        packs = {(m.info["algorithm"], m.info["replicas"]): m for m in _of(found, "training", setting=setting)}
        clip = {r: median(m.timed) for (name, r), m in packs.items() if name == "ppo-clip"}
        if setting == "a" and {1, 20} <= set(clip):
            aims.append(
                (f"time of a pack of 20 to that of one run, ppo-clip ({setting})", 5.0, True, clip[20] / clip[1])
            )
        rises = {name: _rise([m for (other, _), m in packs.items() if other == name]) for name in ALGORITHMS}
        if packs:
            worst = max(rises, key=rises.__getitem__)
            text = f"cost per replica to the least at a smaller R ({setting}); the worst of the five is {worst}"
            aims.append((text, NEVER_RISES, True, rises[worst]))
        for name in ALGORITHMS:
            if name != "ppo-clip" and (name, 10) in packs and 10 in clip:
                text = f"{name} to ppo-clip, time at R = 10 and equal epochs ({setting})"
                aims.append((text, 2.0, True, median(packs[name, 10].timed) / clip[10]))
    for one in _of(found, "plugin"):
        aims.append(("a third party's surrogate to ppo-clip, time", 1.3, True, 1 / median(one.ratios())))
    for one in _of(found, "memory", replicas=100):
        text = f"peak memory of a pack of 100 ({one.info['setting']}), GiB"
        aims.append((text, 1.0, True, max(one.series["peak"]) / 1024))
    return aims


def _rise(packs: list[Measurement]) -> float:
    """Return how far the cost per replica rises above what it was at some smaller R; at most 1 where it only falls."""
    each = {m.info["replicas"]: median(m.timed) / m.info["replicas"] for m in packs}
    return max((each[r] / each[s] for r, s in itertools.combinations(sorted(each, reverse=True), 2)), default=0.0)


def training(found: list[Measurement]) -> str:
    """Return steps per second against R."""
    packs = {(m.info["algorithm"], m.info["setting"], m.info["replicas"]): m for m in _of(found, "training")}
    if not packs:
        return ""
    text = "One process, one core; thousand environment steps per second, all replicas together, set-up left out.\n"
    for setting in SETTINGS:
        rows = [
            [name, *(_thousands(packs.get((name, setting, r))) for r in REPLICAS)]
            for name in ALGORITHMS
            if any((name, setting, r) in packs for r in REPLICAS)
        ]
        text += f"\n({setting})\n\n" + table(["", *(f"R = {r}" for r in REPLICAS)], rows)
    return text


def peers(found: list[Measurement]) -> str:
    """Return jobs and single runs beside Stable-Baselines3."""
    rows = []
    for one in [*_of(found, "job"), *_of(found, "single"), *_of(found, "plugin")]:
        beside = spread(one.reference) if one.reference else "not installed"
        ratio = spread(one.ratios()) if one.reference else ""
        what = {
            "job": f"{one.info.get('environment', ENVIRONMENT)}, {one.info['replicas']} seeds x "
            f"{one.info['steps']:,} steps, two processes, all set-up",
            "single": f"one run of {one.info['steps']:,} steps, one core, without set-up",
            "plugin": f"a six-line surrogate, R = {one.info['replicas']}, beside ppo-clip",
        }[one.group]
        rows.append([f"({one.info['setting']}) {what}", spread(one.timed), beside, ratio, str(len(one.seconds))])
    if not rows:
        return ""
    return (
        "Repetitions of both alternate. Stable-Baselines3's PPO trains two seeds at a time in two processes (one for "
        "the single run), for fewer steps (4,096 in (a), 16,384 in (b)); its time per step is scaled to the job's, and "
        "its start-up is counted once per process.\n\n"
        + table(["", "rlbench, s", "beside it, s", "ratio", "repetitions"], rows)
    )


def parts(found: list[Measurement]) -> str:
    """Return what surrounds training, with its reference where it has one."""
    rows = []
    for group, words in _PARTS.items():
        for one in _of(found, group):
            ratio = spread(one.ratios()) if one.reference and group in ("environments", "physics") else ""
            if group == "start-up":
                ratio = f"takes {spread([1 / r for r in one.ratios()])} times as long"
            rows.append([words(one), spread([1e3 * s for s in one.seconds]), ratio, str(len(one.seconds))])
    return table(["", "ms", "beside the reference", "repetitions"], rows) if rows else ""


def memory(found: list[Measurement]) -> str:
    """Return peak memory."""
    rows = [
        [
            f"({one.info['setting']}) R = {one.info['replicas']}",
            f"{max(one.series['imported']):.0f}",
            f"{max(one.series['peak']):.0f}",
        ]
        for one in _of(found, "memory")
    ]
    return table(["peak resident size, MiB", "after the imports", "after training"], rows) if rows else ""


def breakdown(found: list[Measurement]) -> str:
    """Return where each microsecond goes."""
    text = ""
    for setting in SETTINGS:
        ones = _of(found, "breakdown", setting=setting)
        if not ones:
            continue
        rows = [[row, *(f"{median(one.series[row]):.2f}" for one in ones)] for row in ROWS]
        totals = [sum(median(one.series[row]) for row in ROWS) for one in ones]
        bare = [1e6 * median(one.reference) / (one.info["steps"] * one.info["replicas"]) for one in ones]
        rows.append(["**sum**", *(f"**{total:.2f}**" for total in totals)])
        rows.append(["without the wrapping", *(f"{one:.2f}" for one in bare)])
        text += f"\n({setting})\n\n" + table(["", *(f"R = {one.info['replicas']}" for one in ones)], rows)
    if not text:
        return ""
    return (
        "ppo-clip, one core: microseconds per environment step of one replica, by wrapping the functions of a step. "
        "What wrapping costs is the difference of the last two rows.\n" + text
    )


def _of(found: Iterable[Measurement], group: str, **wanted: Any) -> list[Measurement]:
    return [one for one in found if one.group == group and all(one.info.get(k) == v for k, v in wanted.items())]


def _thousands(one: Measurement | None) -> str:
    return "" if one is None else spread([rate / 1e3 for rate in one.rates()])


_PARTS: dict[str, Callable[[Measurement], str]] = {
    "environments": lambda one: (
        f"{one.info['steps']:,} steps of {one.info['copies']} x {one.info['environment']}, beside SyncVectorEnv"
    ),
    "physics": lambda one: (
        f"{one.info['steps']:,} steps of {one.info['copies']} x {one.info['environment']}, beside `mj_step` alone"
    ),
    "statistics": lambda one: (
        f"{one.info['repetitions']:,} stratified bootstraps of the IQM, 5 arms x 3 environments x 10 seeds"
    ),
    "store": lambda one: f"{one.info['what']} of {one.info['runs']:,} stored runs",
    "report": lambda one: f"report of {one.info['runs']} runs",
    "start-up": lambda one: f"`{one.info['what']}`, beside an interpreter that does nothing",
}
_SECTIONS: dict[str, Callable[[list[Measurement]], str]] = {
    "Aims": targets,
    "Side by side": peers,
    "Steps per second against the size of the pack": training,
    "Where each microsecond goes": breakdown,
    "Memory": memory,
    "Around training": parts,
}
_SETTINGS = [
    "CartPole-v1, networks of two hidden layers of 64 tanh units for policy and value each:\n",
    *(f"- ({key}) {setting.title}" for key, setting in SETTINGS.items()),
    "",
]
