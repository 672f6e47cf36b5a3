# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/variables.md from the argument_specs and defaults of all roles.

The page is never edited by hand; a unit test compares it with what this makes.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/variables.md"
ROLES = [
    "base",
    "certificates",
    "postgres",
    "haproxy",
    "pgbouncer",
    "redis",
    "nginx",
    "release",
    "web",
    "streaming",
    "sidekiq",
]  # as they run
HEAD = """\
# Variables

<!-- Made by `make docs` from roles/*/meta/argument_specs.yml and roles/*/defaults/main.yml. Do not edit. -->

Set them in your inventory: what holds for all hosts in `group_vars/all/main.yml`, what holds for a group in
`group_vars/GROUP.yml`, what holds for one host in `host_vars/HOST.yml`. Secrets are in `group_vars/all/vault.yml`,
which `playbooks/secrets.yml` makes. *The plan* means: computed for the host, and checked with everything else that
wants its memory, connections and processors; a value of yours takes part in that computation.

"""
MARKUP = re.compile(r"\b(?:[OVCIBM]|RV)\(([^()]*)\)")
TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
SHARED = re.compile(r"\bmastodon_(?!plan\b|fleet\b|host_state\b)[a-z0-9_]+")
PLANNED = re.compile(r"^\{\{ mastodon_plan\.[a-z0-9_.]+ \}\}$")
HANDED_ON = re.compile(r"^\{\{ (mastodon_[a-z0-9_]+) \}\}$")


def load(path: Path) -> dict:
    """Return the mapping that a YAML file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def roles() -> list[Path]:
    """Return the roles in the order in which they run, those that the list above does not know at the end."""
    found = {path.parents[1].name: path.parents[1] for path in ROOT.glob("roles/*/meta/argument_specs.yml")}
    order = [*(name for name in ROLES if name in found), *sorted(set(found) - set(ROLES))]
    return [found[name] for name in order]


def sentence(description) -> str:
    """Return a description, one text or a list of texts, as one cell of a table."""
    text = " ".join(description) if isinstance(description, list) else str(description or "")
    return re.sub(r"\s+", " ", MARKUP.sub(r"`\1`", text)).strip().replace("|", "\\|")


def code(value) -> str:
    """Return a value as YAML writes it, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return "`" + text.removesuffix("\n").removesuffix("\n...").replace("|", "\\|") + "`"


def default_cell(name: str, spec: dict, defaults: dict) -> str:
    """Say what a variable is when nobody sets it."""
    if spec.get("required") or name not in defaults:
        return "**required**" if spec.get("required") else "not set"
    value = defaults[name]
    if isinstance(value, str):
        text = " ".join(value.split())
        if PLANNED.match(text):
            return "the plan"
        if handed_on := HANDED_ON.match(text):
            return f"`{handed_on[1]}`"
        if "{{" in text:
            return "`" + text.replace("|", "\\|") + "`"
    return code(value)


def type_cell(spec: dict) -> str:
    """Return the type of a variable, with what it holds or which values are allowed."""
    kind = spec.get("type", "str")
    if "elements" in spec:
        kind += f" of {spec['elements']}"
    if "choices" in spec:
        kind += ": " + ", ".join(code(choice) for choice in spec["choices"])
    return kind


def rows(options: dict, defaults: dict, depth: int = 0) -> list[str]:
    """Return the lines of a role's table; the keys of a mapping follow it, indented."""
    lines = []
    for name, spec in options.items():
        indent = "&nbsp;&nbsp;" * depth
        default = (
            default_cell(name, spec, defaults)
            if depth == 0
            else code(spec["default"])
            if "default" in spec
            else ("**required**" if spec.get("required") else "")
        )
        lines.append(f"| {indent}`{name}` | {type_cell(spec)} | {default} | {sentence(spec.get('description'))} |")
        lines += rows(spec.get("options") or {}, {}, depth + 1)
    return lines


def table(head: str, lines: list[str]) -> str:
    """Return a table of Markdown."""
    columns = head.count("|") + 1
    return "\n".join([f"| {head} |", "|" + "---|" * columns, *lines]) + "\n"


def shared(found: list[Path]) -> str:
    """Return the section on what is set once for all roles, and who reads it."""
    readers: dict[str, list[str]] = {}
    meaning: dict[str, str] = {}
    for role in found:
        specs = specification(role).get("options") or {}
        for name, default in load(role / "defaults/main.yml").items():
            templates = TEMPLATE.findall(yaml.safe_dump(default, width=10_000))
            for variable in SHARED.findall(" ".join(templates)):
                readers.setdefault(variable, [])
                if name not in readers[variable]:
                    readers[variable].append(name)
                # The variable that hands it on unchanged describes it best.
                if name in specs and (variable not in meaning or HANDED_ON.match(str(default).strip())):
                    meaning[variable] = sentence(specs[name].get("description"))
    lines = [
        f"| `{variable}` | {meaning.get(variable, '')} | {', '.join(f'`{name}`' for name in names)} |"
        for variable, names in sorted(readers.items())
    ]
    return "## For the whole instance\n\n" + table("variable | meaning | handed on as", lines)


def specification(role: Path) -> dict:
    """Return the argument specification of a role's main entry point."""
    return load(role / "meta/argument_specs.yml").get("argument_specs", {}).get("main", {})


def section(role: Path) -> str:
    """Return the section of one role."""
    spec = specification(role)
    lines = rows(spec.get("options") or {}, load(role / "defaults/main.yml"))
    body = table("variable | type | default | meaning", lines) if lines else "No variables.\n"
    about = f"{sentence(spec.get('short_description'))}. [More](../roles/{role.name}/README.md)."
    return f"## {role.name}\n\n{about}\n\n{body}"


def page() -> str:
    """Return the whole page."""
    found = roles()
    return HEAD + "\n".join([shared(found), *(section(role) for role in found)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
