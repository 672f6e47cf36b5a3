# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role keeps the contract that makes all of them read alike."""

from __future__ import annotations

import re

import pytest
from collection_tree import (
    ROLES,
    defaults,
    is_templated,
    load,
    names_in_yaml,
    names_read,
    options,
    task_files,
    templates,
    values_of,
)

pytestmark = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)

FILES = ["README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml"]
# Of what Ansible itself knows, a role needs no more. Facts come as ansible_facts['x']: the injected names
# (ansible_distribution, ...) go away in ansible-core 2.24, and no linter notices them.
GIVEN_BY_ANSIBLE = {
    "ansible_check_mode",
    "ansible_facts",
    "ansible_managed",
    "ansible_port",
    "inventory_hostname",
    "omit",
    "role_path",
    "template_destpath",
}
SECRET_NAME = re.compile(r"password|secret|token|key")


def test_has_the_files_of_a_role(role):
    assert [name for name in FILES if not (role / name).is_file()] == []


def test_defaults_and_argument_specs_have_the_same_variables(role):
    # Core never fills in a default of the specification, so what is in one file only is a lie in the other.
    with_default = {name for name, spec in options(role).items() if not spec.get("required")}
    assert set(defaults(role)) == with_default


def test_defaults_and_argument_specs_have_the_same_values(role):
    specs = options(role)
    stated = {name: value for name, value in defaults(role).items() if not is_templated(value)}
    differing = {name: (value, specs[name].get("default")) for name, value in stated.items() if name in specs}
    differing = {name: pair for name, pair in differing.items() if pair[0] != pair[1]}
    assert differing == {}, "variable: (in defaults, in argument_specs)"


def test_argument_specs_state_no_computed_default(role):
    # The specification is for people and for the documentation's tools, which take a template for a wrong type.
    assert [name for name, spec in options(role).items() if is_templated(spec.get("default", ""))] == []


def test_variables_carry_the_name_of_the_role(role):
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


def test_reads_only_its_own_variables(role):
    # Neither group names (groups, group_names, hostvars), nor other roles' variables, nor injected facts: what a role
    # needs from outside, its defaults hand on.
    own = (f"{role.name}_", f"__{role.name}_")
    foreign = {name for name in names_read(role) if not name.startswith(own)} - GIVEN_BY_ANSIBLE
    assert foreign == set()


def test_defaults_hand_on_only_what_the_collection_shares(role):
    allowed = (f"{role.name}_", "mastodon_")
    foreign = {name for name in names_in_yaml(defaults(role)) if not name.startswith(allowed)} - GIVEN_BY_ANSIBLE
    assert foreign == set()


def test_every_variable_it_reads_is_documented(role):
    read = names_read(role) | names_in_yaml(defaults(role))
    assert {name for name in read if name.startswith(f"{role.name}_")} - set(options(role)) == set()


def test_every_documented_variable_is_read(role):
    assert set(options(role)) - names_read(role) - names_in_yaml(defaults(role)) == set()


def test_registered_names_are_internal(role):
    registered = [name for path in task_files(role) for name in values_of("register", load(path))]
    assert [name for name in registered if not name.startswith(f"__{role.name}_")] == []


def test_secrets_are_marked(role):
    # Only stated values count: where a name merely sounds like a secret, the role says `no_log: false`.
    assert [name for name, spec in options(role).items() if SECRET_NAME.search(name) and "no_log" not in spec] == []


def test_templates_say_who_wrote_them_and_lie_as_on_the_host(role):
    for path in templates(role):
        assert path.suffix == ".j2", path
        head = path.read_text(encoding="utf-8").splitlines()[:2]
        first = head[1] if head[0].startswith(("#!", "#jinja2:")) else head[0]
        assert first.startswith("{{ ansible_managed | comment"), path
        assert path.relative_to(role / "templates").parts[0] in {"etc", "opt", "usr", "var"}, path


def test_templates_are_the_same_on_every_day(role):
    dated = re.compile(r"ansible_date_time|\bnow\(|strftime")
    assert [path for path in templates(role) if dated.search(path.read_text(encoding="utf-8"))] == []


def test_every_template_is_used(role):
    naming = [*task_files(role), *role.glob("vars/*.yml")]
    tasks = "".join(path.read_text(encoding="utf-8") for path in naming)
    names = [str(path.relative_to(role / "templates")) for path in templates(role)]
    included = "".join(path.read_text(encoding="utf-8") for path in templates(role))
    assert [name for name in names if name not in tasks and name not in included] == []


def test_meta_asks_for_the_core_that_the_collection_asks_for(role, root):
    wanted = load(root / "meta/runtime.yml")["requires_ansible"].removeprefix(">=")
    assert wanted.startswith(load(role / "meta/main.yml")["galaxy_info"]["min_ansible_version"])
    assert load(role / "meta/main.yml").get("dependencies", []) == []
