# SPDX-License-Identifier: GPL-3.0-or-later
"""How the three real readers take an env file apart, written down from their sources; they import nothing of ours.

dotenv for Ruby 3.2 (lib/dotenv/parser.rb and its substitutions), dotenv for Node 18 (lib/main.js), systemd 257
(src/basic/env-file.c).
"""

from __future__ import annotations

import re

_RUBY_LINE = re.compile(
    r"""(?:^|\A)\s*(?:export\s+)?([\w.]+)(?:\s*=\s*?|:\s+?)
        (\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|[^\#\r\n]+)?\s*(?:\#.*)?(?:$|\Z)""",
    re.VERBOSE | re.MULTILINE,
)
_NODE_LINE = re.compile(
    r"""^\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)
        (\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^\#\r\n]+)?\s*(?:\#.*)?$""",
    re.VERBOSE | re.MULTILINE,
)
_VARIABLE = re.compile(r"(\\)?\$(?!\()\{?([A-Z0-9_]+)?\}?", re.IGNORECASE)
_COMMAND = re.compile(r"(\\)?\$\([^()]*\)")


def read_ruby(text: str) -> dict[str, str]:
    found = {}
    for match in _RUBY_LINE.finditer(text):
        value = (match[2] or "").strip()
        quoted = re.fullmatch(r"(['\"])(.*)\1", value, re.DOTALL)
        quote, value = (quoted[1], quoted[2]) if quoted else (None, value)
        if quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        if quote != "'":
            value = re.sub(r"\\([^$])", r"\1", value)
            value = _VARIABLE.sub(lambda m: m[0][1:] if m[1] else "", value)
            value = _COMMAND.sub(lambda m: m[0][1:] if m[1] else "(output of a command)", value)
        found[match[1]] = value
    return found


def read_node(text: str) -> dict[str, str]:
    found = {}
    for match in _NODE_LINE.finditer(text):
        value = (match[2] or "").strip()
        quote = value[:1]
        value = re.sub(r"^(['\"`])([\s\S]*)\1$", r"\2", value)
        if quote == '"':
            value = value.replace("\\n", "\n").replace("\\r", "\r")
        found[match[1]] = value
    return found


def read_systemd(text: str) -> dict[str, str]:
    found = {}
    key, value, state, kept = "", "", "before key", 0
    for char in f"{text}\n":
        if state == "before key":
            if char in "#;":
                state = "comment"
            elif char not in " \t\n\r":
                state, key = "key", char
        elif state == "key":
            if char == "=":
                state, key, value, kept = "before value", key.rstrip(), "", 0
            elif char in "\n\r":
                state = "before key"
            else:
                key += char
        elif state in ("before value", "value"):
            if char in "\n\r":
                found[key] = value[:kept] if state == "value" else value
                state = "before key"
            elif state == "before value" and char in "'\"":
                state = char
            elif char == "\\":
                state = "escape"
            elif state == "before value" and char in " \t":
                continue
            else:
                state, value = "value", value + char
                kept = kept if char in " \t" else len(value)
        elif state == "escape":
            state = "value"
            if char not in "\n\r":
                value += char
                kept = len(value)
        elif state == "'":
            if char == "'":
                state = "before value"
            else:
                value += char
        elif state == '"':
            if char == '"':
                state = "before value"
            elif char == "\\":
                state = '" escape'
            else:
                value += char
        elif state == '" escape':
            state = '"'
            if char in '"\\`$':
                value += char
            elif char not in "\n\r":
                value += f"\\{char}"
        elif state == "comment" and char in "\n\r":
            state = "before key"
    return found


READERS = {"ruby": read_ruby, "node": read_node, "systemd": read_systemd}
