# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter dotenv."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: dotenv
short_description: Write a mapping as an env file
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Returns the text of an env file that dotenv for Ruby, dotenv for Node and systemd's C(EnvironmentFile=) read alike.
  - V(true) and V(false) are written in lower case, the items of lists are joined by commas, and names whose value is
    null or the empty string are left out. Where an empty value says something to Mastodon (C(S3_PERMISSION),
    C(UPDATE_CHECK_URL)) it is written.
  - Names that Mastodon does not know are refused, with the nearest one that it does; so are names that do not work in
    this file, that earlier versions read, or that would destroy an instance. All wrong names are reported together.
positional: process, extra_names
options:
  _input:
    description: Names of environment variables and their values.
    type: dict
    required: true
  process:
    description:
      - Whether the file is the environment of a single process. Names such as C(WEB_CONCURRENCY) and C(DB_POOL) are
        taken only then.
    type: bool
    default: false
  extra_names:
    description: Names beyond Mastodon's that are to be taken, such as those of a fork.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
---
- name: Write the environment of Mastodon
  fediops.mastodon.config_files:
    mode: "0640"
    group: mastodon
    files:
      - dest: /etc/mastodon/env.production
        content: "{{ release_env | fediops.mastodon.dotenv(extra_names=['MY_FORK_SWITCH']) }}"
        secret: true

- name: Write the environment of Puma
  fediops.mastodon.config_files:
    files:
      - dest: /etc/mastodon/web.env
        content: "{{ {'WEB_CONCURRENCY': web_workers} | fediops.mastodon.dotenv(process=true) }}"
"""

RETURN = r"""
---
_value:
  description: One C(NAME=value) a line, in the order of the mapping.
  type: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.fediops.mastodon.plugins.plugin_utils.dotenv import dotenv as _dotenv
from ansible_collections.fediops.mastodon.plugins.plugin_utils.filters import named, require


def dotenv(value: Mapping[str, Any], process: bool = False, extra_names: Sequence[str] = ()) -> str:
    """Check types, call the library, name the filter in what it raises."""
    with named("dotenv"):
        require("the environment", value, "a mapping")
        require("extra_names", extra_names, "a list")
        return _dotenv(
            {name: item for name, item in value.items() if not _is_omitted(item)},
            process=bool(process),
            extra_names=extra_names,
        )


def _is_omitted(value: Any) -> bool:
    """True for `omit`, which core leaves in a mapping that goes through a filter and has no public name for."""
    return type(value).__name__ == "_OmitType"


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function."""
        return {"dotenv": dotenv}
