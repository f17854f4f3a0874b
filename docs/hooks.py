"""What the site has beside the pages here: notebooks, a page per algorithm, the lecture claim by claim, and pictures.

They are made of scripts, of the algorithms' sources and of the published results when the site is built, so that
nothing is written twice.
"""

import csv
import html
import inspect
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jupytext
from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

from rlbench import Algorithm, registry
from rlbench.analysis.report.suite_page import by_part
from rlbench.fields import Field, fields_of, written

LECTURE = Path(__file__).parents[1] / "results" / "lecture"
FIDELITY = LECTURE.with_name("fidelity") / "tables" / "claims.csv"
VARIANTS = LECTURE.with_name("variants") / "slides"
PAPERS = tomllib.loads(Path(__file__).with_name("algorithms.toml").read_text(encoding="utf-8"))
PAIRS = {"ppo-clip": "PPO", "trpo": "TRPO", "a2c": "A2C"} | {"sb3-ppo": "PPO", "sb3-trpo": "TRPO", "sb3-a2c": "A2C"}
"""What `experiments/fidelity.py` calls them."""
FIRST = ("ppo-clip", "ppo-penalty", "ppo-adaptive", "trpo", "reinforce", "a2c", "actor-critic")
FIGURES = {
    "ppo-clip": ("ppo-versus-reinforce", "effective-ratio", "clip-fraction"),
    "ppo-penalty": ("ppo-versus-reinforce", "stability"),
    "ppo-adaptive": ("stability",),
    "trpo": ("ppo-versus-reinforce", "kl-per-update"),
    "reinforce": ("ppo-versus-reinforce",),
    "a2c": ("ppo-versus-reinforce",),
}
"""Which figures of the lecture's report show what an algorithm does."""
OUTSIDE = re.compile(r"\(\.\./results/([^)]+)\)")
EQUIVALENT = {"supported": "yes", "refuted": "no", "inconclusive": "these runs do not tell"}
RECORDED = (
    "Every update records the same columns for every algorithm: the KL divergence from the policy before, the share of "
    "samples outside the clip range, the entropy, the losses, the share of the return's variance that the value "
    "explains, and the norm of the gradient. [Stored files](../store.md) lists them."
)


def on_config(config: Any) -> Any:
    """List the algorithms in the navigation."""
    for entry in config["nav"]:
        if "Algorithms" in entry:
            entry["Algorithms"] = [{name: f"algorithms/{name}.md"} for name in _algorithms()]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the pictures that they and others show."""
    titles, curves = (_captions(folder) for folder in (LECTURE / "slides", VARIANTS))
    for name in _algorithms():
        content = _algorithm(registry.load(name), titles, curves)
        files.append(File.generated(config, f"algorithms/{name}.md", content=content))
    files.append(File.generated(config, "lecture.md", content=_lecture()))
    for script in sorted(Path(__file__).with_name("notebooks").glob("*.py")):
        notebook, name = jupytext.read(script), f"notebooks/{script.stem}"
        link = f"\n\n[Download the notebook]({script.stem}.ipynb){{ .md-button }}\n"
        page = jupytext.writes(notebook, "md") + link
        files.append(File.generated(config, f"{name}.md", content=page))
        files.append(File.generated(config, f"{name}.ipynb", content=jupytext.writes(notebook, "ipynb")))
    for prefix, folder in (("", LECTURE / "slides"), ("variants-", VARIANTS)):
        for picture in sorted(folder.glob("*.png")):
            files.append(File.generated(config, f"pictures/{prefix}{picture.name}", abs_src_path=str(picture)))
    shown = {path for page in files.documentation_pages() for path in OUTSIDE.findall(page.content_string)}
    for path in sorted(shown):
        files.append(File.generated(config, f"results/{path}", abs_src_path=str(LECTURE.parent / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to published results, which lie beside this folder in the repository, lead to their copies."""
    return OUTSIDE.sub(r"(results/\1)", markdown)


def _algorithms() -> list[str]:
    return [*FIRST, *(name for name in registry.names() if name not in FIRST)]


def _algorithm(cls: type[Algorithm], lecture: Mapping[str, str], variants: Mapping[str, str]) -> str:
    """Return the page of an algorithm: what it computes, its fields, its source, and what it did.

    `lecture` and `variants` are the captions of published figures by their names.
    """
    known, own, paper = fields_of(cls), inspect.get_annotations(cls), PAPERS[cls.name]
    titles = {name: lecture[name].split(". ")[0].strip("*. ") for name in FIGURES.get(cls.name, ())}
    shown = [f"![{title}](../pictures/{name}.png)" for name, title in titles.items()]
    learns = [f"![Learning curves of {cls.name}](../pictures/variants-{cls.name}.png)", variants.get(cls.name, "")]
    learns += [
        f"That it learns better than PPO-Clip, as its paper says of other tasks, is {claim['verdict']} by these runs: "
        f"it has {_effect(claim)} more in the normalised area under the learning curve; more than 0.05 was asked for."
        for claim in _rows(VARIANTS.with_name("verdicts.csv"))
        if claim["statement"].startswith(f"{cls.name} learns")
    ]
    inherited = [field for field in known.values() if field.name not in own]
    parts = [
        f"# {cls.name}",
        inspect.cleandoc(str(inspect.getmodule(cls).__doc__)),
        inspect.cleandoc(str(cls.__doc__)),
        f"<div class='equation'>{convert(paper['equation'], display='block')}</div>" if "equation" in paper else "",
        "## What differs from the paper",
        paper["differs"],
        *(["## How it learns at its defaults", *learns] if cls.name in variants else []),
        "## Its own fields",
        _table([known[name] for name in own if name in known]) or "It has none.",
        "## Source",
        f"```python\n{Path(inspect.getfile(cls)).read_text(encoding='utf-8').rstrip()}\n```",
        *(["## What it did in the lecture's experiments", *shown] if shown else []),
        *_fidelity(PAIRS.get(cls.name, "")),
        *(["## Other fields", _table(inherited)] if inherited else []),
        "## What is recorded",
        RECORDED,
    ]
    return "\n\n".join(parts)


def _table(fields: Sequence[Field]) -> str:
    rows = []
    for field in fields:
        low, high = ("" if end is None else f"{end:g}" for end in (field.low, field.high))
        values = ", ".join(map(str, field.choices or ())) or (f"{low or '−∞'} to {high or '∞'}" if low or high else "")
        rows.append(f"| `{field.name}` | `{written(field.default)}` | {field.kind} | {values} | {field.doc} |")
    return (
        "\n".join(["| field | default | kind | values | what it is |", "|---|---|---|---|---|", *rows]) if rows else ""
    )


def _fidelity(name: str) -> list[str]:
    """Return the section on how an algorithm learns beside that of Stable-Baselines3, of what was published of it."""
    published = _rows(FIDELITY) + _rows(FIDELITY.with_name("claims-larger-tasks.csv"))
    parts = [row for row in published if name and row["claim"].startswith(f"{name} learns")]
    rows = [
        f"| {part['environment']} | {float(part['n_arm']):.0f} and {float(part['n_other']):.0f} | {_effect(part)} | "
        f"{EQUIVALENT[part['part_verdict']]} |"
        for part in parts
        if part["effect"]
    ]
    if not rows:
        return []
    head = ["| environment | runs here and there | difference | within 0.1? |", "|---|---|---|---|"]
    return [
        "## Beside Stable-Baselines3",
        "At the very same settings (`experiments/fidelity.py`), in the normalised area under the learning curve: what "
        "rlbench's has more than theirs, with its interval. [My numbers differ](../numbers.md) says where it is from.",
        "\n".join([*head, *rows]),
    ]


def _captions(folder: Path) -> dict[str, str]:
    """Return the caption of every published figure by its name."""
    captions = (folder / "captions.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## (\S+)\n\n(.+)$", captions, re.M))


def _lecture() -> str:
    """Return the page with every claim of the lecture: where it is made, the verdict, and what tries it."""
    claims = _rows(LECTURE / "verdicts.csv")
    counts, rows = Counter(claim["verdict"] for claim in claims), list[str]()
    for claim in claims:
        tried = f"`{claim['experiment']}`" if claim["experiment"] else "a calculation"
        row = (claim["id"], html.escape(claim["statement"]), f"**{claim['verdict']}**", _effect(claim), tried)
        rows.append(f"| {' | '.join(row)} |")
    lines = [
        "# The lecture, claim by claim",
        f"A lecture on PPO makes {len(claims)} claims that can be tried: "
        f"{', '.join(f'{counts[verdict]} are {verdict}' for verdict in counts)}. The numbers are the effect that "
        "decided a verdict and its 95 % interval. `rlbench run experiments/lecture --only EXPERIMENT` trains what "
        "tries a claim, `rlbench report experiments/lecture --only EXPERIMENT` shows it with its figures.",
        "![Learning curves of PPO, TRPO, REINFORCE and A2C](pictures/ppo-versus-reinforce.png)",
    ]
    head = "| | claim | verdict | effect | experiment |\n|---|---|---|---|---|"
    for part, places in by_part([claim["source"] for claim in claims]).items():
        lines += [f"## {part}", "\n".join([head, *(rows[place] for place in places)])]
    return "\n\n".join(lines)


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _effect(claim: Mapping[str, str]) -> str:
    numbers = [float(claim[key]) for key in ("effect", "effect_low", "effect_high") if claim[key]]
    return "{:.2f} [{:.2f}, {:.2f}]".format(*numbers) if len(numbers) == 3 else "–"
