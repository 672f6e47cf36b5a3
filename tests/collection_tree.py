# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's files, as the tests of its conventions read them."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import jinja2
import jinja2.meta
import yaml

ROOT = Path(__file__).resolve().parents[1]
ROLES = sorted(path for path in (ROOT / "roles").glob("*") if path.is_dir())

# Keys of a task whose text is an expression although no braces are around it.
EXPRESSIONS = {"when", "that", "until", "changed_when", "failed_when"}


class _Whatever(dict):
    """Filters and tests by any name: only the names of variables are wanted."""

    def get(self, key, default=None):
        return str


# Functions that Ansible gives to every template; they are no variables.
_environment = jinja2.Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"], autoescape=True)
_environment.globals.update(dict.fromkeys(("lookup", "query", "q", "now", "undef")))
_environment.filters = _environment.tests = _Whatever()


class _Loader(yaml.SafeLoader):
    """YAML as Ansible writes it: a tag such as !vault or !unsafe does not hide what is around it."""


_Loader.add_multi_constructor("!", lambda loader, suffix, value: f"!{suffix}")


def load(path: Path):
    """Return what a YAML file holds, an empty mapping for an empty one."""
    return yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}


def options(role: Path) -> dict:
    """Return {option: specification} over all entry points of a role."""
    specs = load(role / "meta/argument_specs.yml").get("argument_specs", {})
    return {name: spec for point in specs.values() for name, spec in (point.get("options") or {}).items()}


def defaults(role: Path) -> dict:
    """Return {variable: default} of a role."""
    return load(role / "defaults/main.yml")


def alert_groups() -> list[dict]:
    """Return what somebody is told of."""
    return load(ROOT / "roles/metrics/vars/alerts.yml")["metrics_alert_groups"]


def task_files(role: Path) -> list[Path]:
    """Return the files of a role that hold tasks or handlers."""
    return sorted([*role.glob("tasks/**/*.yml"), *role.glob("handlers/**/*.yml")])


def templates(role: Path) -> list[Path]:
    """Return the templates of a role."""
    return sorted(path for path in role.glob("templates/**/*") if path.is_file())


def is_templated(value) -> bool:
    """Say whether a default is computed when it is read."""
    return "{{" in str(value) or "{%" in str(value)


def names_in_text(text: str) -> set[str]:
    """Return the variables that a template reads; those that it sets itself are not among them."""
    return jinja2.meta.find_undeclared_variables(_environment.parse(text))


def names_in_yaml(value, key: str = "") -> set[str]:
    """Return the variables that the templates and conditions in a YAML structure read."""
    if isinstance(value, dict):
        return set().union(*(names_in_yaml(inner, name) for name, inner in value.items()))
    if isinstance(value, list):
        return set().union(*(names_in_yaml(inner, key) for inner in value))
    if not isinstance(value, str):
        return set()
    return names_in_text("{{ " + value + " }}" if key in EXPRESSIONS and not is_templated(value) else value)


def names_read(role: Path) -> set[str]:
    """Return the variables that the tasks, the constants and the templates of a role read."""
    return set().union(
        *(names_in_yaml(load(path)) for path in [*task_files(role), *role.glob("vars/*.yml")]),
        *(names_in_text(path.read_text(encoding="utf-8")) for path in templates(role)),
    )


def values_of(key: str, structure) -> list:
    """Return every value that stands under a key, at any depth."""
    if isinstance(structure, dict):
        here = [structure[key]] if key in structure else []
        return here + [found for inner in structure.values() for found in values_of(key, inner)]
    if isinstance(structure, list):
        return [found for inner in structure for found in values_of(key, inner)]
    return []


@cache
def committed_files() -> tuple[Path, ...]:
    """Return the text files that are in git or would be added; without git, all that are not hidden."""
    git = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if git.returncode == 0:
        found = [ROOT / name for name in git.stdout.split("\0") if name]
    else:
        found = [
            path for path in ROOT.rglob("*") if not re.search(r"/\.(?!github|ci|config)", f"/{path.relative_to(ROOT)}")
        ]
    return tuple(sorted(path for path in found if path.is_file() and not path.is_symlink() and is_text(path)))


def is_text(path: Path) -> bool:
    """Say whether a file holds text."""
    return b"\0" not in path.read_bytes()[:4096]
