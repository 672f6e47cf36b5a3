#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's part of config_files; the action plugin of the same name renders what is sent here."""

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write all files, links and directories of a component in one call, all or none
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - A role names every file, link and directory it owns, and what must be gone. All of it is rendered on the control
    machine, sent in one call, staged in a private directory that nothing includes, checked by the component's own
    checker, and put in place by renames under a journal.
  - An error takes back what was changed already. A call that was killed is taken back by the next call, which then
    makes the whole change.
  - What a change owes to a service (a restart, a reload, a C(daemon-reload)) is written down on the host before the
    first file changes. M(fediops.mastodon.units) pays it, in this run or, when this run is killed, in the next.
options:
  owner:
    description: The owner of all files and directories that do not name their own.
    type: str
    default: root
  group:
    description: The group of all files and directories that do not name their own.
    type: str
    default: root
  mode:
    description:
      - The mode of all files that do not name their own; in quotes, octal, with a leading zero.
      - It does not apply to directories.
    type: str
    default: "0644"
  files:
    description:
      - Regular files. Missing parent directories are made, owned by root, mode V("0755").
      - A symbolic link at O(files[].dest) is replaced, not followed; anything else but a regular file there is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: The absolute path on the host.
        type: path
        required: true
      template:
        description:
          - A Jinja template, looked up in C(templates/) of the role and then of the playbook, as
            M(ansible.builtin.template) does.
          - The variables C(template_path), C(template_fullpath) and C(template_destpath) are set. C(ansible_managed)
            has a fixed text where nobody sets it.
          - Exactly one of O(files[].template), O(files[].content) and O(files[].src) is needed.
        type: str
      content:
        description: The text of the file.
        type: str
      src:
        description: A file of C(files/) of the role or playbook, copied byte for byte.
        type: str
      owner:
        description: The owner, by name or number. The default is O(owner).
        type: str
      group:
        description: The group, by name or number. The default is O(group).
        type: str
      mode:
        description: The mode. The default is O(mode).
        type: str
      secret:
        description:
          - Whether the file holds a secret. Its diff then says only that it changes, and what a checker
            prints is stripped of its values.
        type: bool
        default: false
      restart:
        description:
          - Units that owe a restart when this file changes. V(mastodon-sidekiq@*.service) stands for the
            instances that run at that moment.
        type: list
        elements: str
        default: []
      reload:
        description: Units that owe a reload when this file changes.
        type: list
        elements: str
        default: []
  directories:
    description: Directories. A symbolic link to a directory is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path on the host.
        type: path
        required: true
      owner:
        description: The owner, by name or number. The default is O(owner).
        type: str
      group:
        description: The group, by name or number. The default is O(group).
        type: str
      mode:
        description: The mode.
        type: str
        default: "0755"
  links:
    description: Symbolic links, switched atomically. A directory in the place of one is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The absolute path of the link itself.
        type: path
        required: true
      target:
        description: What the link says, as it is; it need not exist.
        type: str
        required: true
      restart:
        description: Units that owe a restart when the link changes.
        type: list
        elements: str
        default: []
      reload:
        description: Units that owe a reload when the link changes.
        type: list
        elements: str
        default: []
  absent:
    description:
      - What must be gone, directories with all they hold included.
      - Each is a path, or a mapping of C(path), C(restart) and C(reload).
    type: list
    elements: raw
    default: []
  exclusive:
    description: Directories whose files are all ours.
    type: list
    elements: dict
    default: []
    suboptions:
      directory:
        description: The directory; it need not exist.
        type: path
        required: true
      pattern:
        description: Files and links in it that match this shell pattern and are not named in this call are removed.
        type: str
        required: true
      restart:
        description: Units that owe a restart when one is removed.
        type: list
        elements: str
        default: []
      reload:
        description: Units that owe a reload when one is removed.
        type: list
        elements: str
        default: []
  validate:
    description:
      - Commands that must succeed for the change to stand. They run only when something changes, and not in check mode.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The command and its arguments.
        type: list
        elements: str
        required: true
      over:
        description:
          - The directory that the command reads. The command sees the new files there before anybody else does, because
            a changed copy of the directory is mounted over it for this command alone.
          - Where the kernel does not allow that (a container without rights), where the directory is new, or without
            this option, the command runs right after the files are in place, and its failure takes all of them back.
          - The command runs only when something below the directory changes.
        type: path
  state_directory:
    description: Where the host keeps the journal and what is owed.
    type: path
    default: /var/lib/fediops
  payload:
    description: The rendered files, encoded. The action plugin fills it; never set it.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would change; users and groups that a later task makes may be missing.
    support: full
  diff_mode:
    description: One diff for each path.
    support: full
  idempotent:
    description: A second call changes nothing, runs no command and costs little more than a ping.
    support: full
  platform:
    description: Linux with systemd.
    platforms: linux
    support: full
notes:
  - A single file that is itself a mount point, such as C(/etc/hosts) in a container, cannot be renamed over and is
    written in place.
  - Together the files of a call may hold 5 MB.
seealso:
  - module: fediops.mastodon.units
"""

EXAMPLES = r"""
- name: Write the configuration of Redis
  fediops.mastodon.config_files:
    group: redis
    mode: "0640"
    files:
      - dest: /etc/redis/redis.conf
        template: etc/redis/redis.conf.j2
        secret: true
        restart: [redis-server.service]

- name: Write the configuration of nginx, checked as a whole before it is in force
  fediops.mastodon.config_files:
    files:
      - dest: /etc/nginx/nginx.conf
        template: etc/nginx/nginx.conf.j2
        reload: [nginx.service]
      - dest: /etc/nginx/conf.d/mastodon.conf
        template: etc/nginx/conf.d/mastodon.conf.j2
        reload: [nginx.service]
    absent:
      - path: /etc/nginx/sites-enabled/default
        reload: [nginx.service]
    validate:
      - argv: [nginx, -t]
        over: /etc/nginx

- name: One environment file for each queue process, and no other
  fediops.mastodon.config_files:
    files:
      - dest: /etc/mastodon/sidekiq/push.env
        content: "DB_POOL=10\n"
        restart: [mastodon-sidekiq@push.service]
    exclusive:
      - directory: /etc/mastodon/sidekiq
        pattern: "*.env"

- name: Switch to another release
  fediops.mastodon.config_files:
    links:
      - path: /opt/mastodon/current
        target: /opt/mastodon/releases/4f2a9c
        restart: ["mastodon-sidekiq@*.service", mastodon-web.service]
"""

RETURN = r"""
changed_files:
  description: The paths that changed, or in check mode would change.
  returned: always
  type: list
  elements: str
  sample: [/etc/redis/redis.conf]
owed:
  description: All that the host owes to its services after this call, whoever caused it.
  returned: always
  type: list
  elements: str
  sample: [restart redis-server.service, daemon-reload]
recovered:
  description: The paths of an earlier call that was killed, which this call took back first.
  returned: always
  type: list
  elements: str
"""

import base64
import dataclasses
import glob
import grp
import os
import pwd
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import PurePath

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils import journal, owed
from ansible_collections.fediops.mastodon.plugins.module_utils.journal import Change, look
from ansible_collections.fediops.mastodon.plugins.module_utils.owed import RefusedError

OWABLE = ("restart", "reload")
UNIT_FILES = "/etc/systemd/system/"
SHORTEST_SECRET = 6
NOBODY_YET = -1
PRIVATE_MOUNTS = ["unshare", "--mount", "--propagation", "private"]
# What a path is to become, and the options that the task gives for it, defaults included.
Wanted = tuple[Change, dict]
MAY_REPLACE = {"file": ("file", "link"), "link": ("file", "link"), "directory": ("directory",)}


def arguments() -> dict:
    """Return the argument specification."""

    def entries(**options: dict) -> dict:
        return {"type": "list", "elements": "dict", "default": [], "options": options}

    text, path, names = {"type": "str"}, {"type": "path", "required": True}, {"type": "list", "elements": "str"}
    owes = {what: {**names, "default": []} for what in OWABLE}
    owned, flag = {"owner": text, "group": text}, {"type": "bool", "default": False, "no_log": False}
    return {
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
        "mode": {"type": "str", "default": "0644"},
        "files": entries(dest=path, template=text, content=text, src=text, mode=text, secret=flag, **owned, **owes),
        "directories": entries(path=path, mode={"type": "str", "default": "0755"}, **owned),
        "links": entries(path=path, target={"type": "str", "required": True}, **owes),
        "absent": {"type": "list", "elements": "raw", "default": []},
        "exclusive": entries(directory=path, pattern={"type": "str", "required": True}, **owes),
        "validate": entries(argv={**names, "required": True}, over={"type": "path"}),
        "state_directory": {"type": "path", "default": owed.STATE_DIRECTORY},
        # no_log also keeps the files out of the host's log.
        "payload": {"type": "dict", "default": {}, "no_log": True},
    }


class Reader:
    """Turns the options of a task into ``wanted``, by path. Raises RefusedError.

    In check mode users and groups may be missing, because an earlier task would have made them.
    """

    def __init__(self, params: dict, check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.wanted: dict[str, Wanted] = {}
        for entry in params["directories"]:
            self._add(entry["path"], "directory", entry)
        for entry in params["files"]:
            content = base64.b64decode(params["payload"].get(entry["dest"], ""))
            self._add(entry["dest"], "file", {**entry, "mode": entry["mode"] or params["mode"]}, content)
        for entry in params["links"]:
            self._add(entry["path"], "link", entry, os.fsencode(entry["target"]))
        for parent in {str(parent) for path in self.wanted for parent in PurePath(path).parents} - self.wanted.keys():
            if not os.path.lexists(parent):
                self._add(parent, "directory", {"owner": "root", "group": "root", "mode": "0755"})
        for entry in params["absent"]:
            entry = {"path": entry} if isinstance(entry, str) else entry
            if not isinstance(entry, dict) or "path" not in entry or entry.keys() - {"path", *OWABLE}:
                raise RefusedError(f"absent: expected a path, or path, restart and reload, got {entry!r}")
            self._add(entry["path"], "absent", entry)
        for entry in params["exclusive"]:
            pattern = os.path.join(glob.escape(entry["directory"]), entry["pattern"])
            for path in glob.glob(pattern, include_hidden=True):
                if path not in self.wanted and (os.path.islink(path) or not os.path.isdir(path)):
                    self._add(path, "absent", entry)

    def _add(self, path: str, kind: str, entry: dict, content: bytes = b"") -> None:
        if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
            raise RefusedError(f"{path}: expected an absolute path without '.', '..' or a slash at its end")
        if path in self.wanted:
            raise RefusedError(f"{path}: named twice")
        options = entry | {what: entry.get(what) or self.params[what] for what in ("owner", "group")}
        change = Change(path, kind, content)
        if kind in ("file", "directory"):
            if not re.fullmatch("0[0-7]{3,4}", entry["mode"]):
                raise RefusedError(f'{path}: mode {entry["mode"]} must be octal, and in quotes: "0644"')
            uid = self._number(path, "user", options["owner"], pwd.getpwnam)
            gid = self._number(path, "group", options["group"], grp.getgrnam)
            change = Change(path, kind, content, int(entry["mode"], 8), uid, gid)
        self.wanted[path] = change, options

    def _number(self, path: str, what: str, name: str, look_up: Callable) -> int:
        try:
            return int(name) if name.isdigit() else look_up(name)[2]
        except KeyError:
            if self.check_mode:
                return NOBODY_YET
            raise RefusedError(f"{path}: the {what} {name} does not exist on this host") from None


def obstacle(wanted: Change, found: Change) -> str | None:
    """Return why the one must not take the place of the other, or nothing."""
    if wanted.kind != "absent" and found.kind not in (*MAY_REPLACE[wanted.kind], "absent"):
        return f"{wanted.path}: there is a {found.kind} where a {wanted.kind} is wanted; move it away first"
    for parent in PurePath(wanted.path).parents:
        # Whoever owns such a link could have us write anywhere.
        if os.path.islink(parent) and os.lstat(parent).st_uid not in (0, os.geteuid()):
            return f"{wanted.path}: {parent} is a symbolic link that belongs to an ordinary user; it is not followed"
    return None


def diff(change: Change, options: dict, found: Change) -> dict:
    """Return the difference of one path as callbacks print it; that of a secret file says only that it changes."""
    missing = NOBODY_YET in (change.uid, change.gid)
    note = f" (would be owned by {options['owner']}:{options['group']}, not all on this host yet)" if missing else ""
    headers = {"before_header": change.path, "after_header": change.path + note}
    if (change.kind, change.content) == (found.kind, found.content):
        before, after = (f"uid: {it.uid}\ngid: {it.gid}\nmode: {it.mode:04o}\n" for it in (found, change))
    elif options.get("secret"):
        before, after = "" if found.kind == "absent" else "(secret, as it was)\n", "(secret, changed)\n"
    elif b"\0" in found.content + change.content:
        return {**headers, "dst_binary": 1}
    else:
        before, after = _text(found), _text(change)
    return {**headers, "before": before, "after": after}


def _text(change: Change) -> str:
    text = change.content.decode("utf-8", "replace")
    return {"file": text, "link": f"symbolic link to {text}\n", "absent": ""}.get(change.kind, f"{change.kind}\n")


def without_secrets(text: str, contents: Iterable[bytes]) -> str:
    """Return a text in which nothing is left of the values in these files: of each line all words but the first."""
    secrets = set()
    for line in b"\n".join(contents).decode("utf-8", "replace").splitlines():
        for separators in (r"[\s\"'=,;]+", r"[^\w+/.~-]+"):
            words = [word for word in re.split(separators, line) if word]
            secrets.update(words[1:] or words)
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "********")
    return text


def run_check(module: AnsibleModule, argv: list[str], changed: list[Wanted], prefix: Iterable[str] = ()) -> None:
    """Have a command judge the change. Raises RefusedError, with what it says but for the secrets in it."""
    if not module.get_bin_path(argv[0]):
        raise RefusedError(f"{argv[0]}, which is to check the new files, is not installed; nothing has changed")
    rc, out, err = module.run_command([*prefix, *argv])
    if rc != 0:
        secrets = [change.content for change, options in changed if options.get("secret")]
        said = without_secrets(err.strip() or out.strip(), secrets)
        raise RefusedError(f"{' '.join(argv)} refuses the new files, so nothing has changed: {said}")


def checked_on_copy(module: AnsibleModule, check: dict, changed: list[Wanted], home: str) -> bool:
    """Have the command see the new files ahead of everybody; return whether the kernel lets us do that."""
    over, tree = check["over"], os.path.join(tempfile.mkdtemp(dir=home), "tree")
    if not over or not os.path.isdir(over):
        return False
    module.run_command(["cp", "-a", f"{over}/.", tree], check_rc=True)
    if module.run_command([*PRIVATE_MOUNTS, "mount", "--bind", tree, over])[0] != 0:
        return False
    copies = [dataclasses.replace(it, path=f"{tree}/{os.path.relpath(it.path, over)}") for it in below(over, changed)]
    with journal.switch(home, copies) as copy:
        copy.make()
    there = ["sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', tree, over]
    run_check(module, check["argv"], changed, prefix=[*PRIVATE_MOUNTS, *there])
    return True


def below(over: str | None, changed: list[Wanted]) -> list[Change]:
    """Return the changes below a directory, or all."""
    return [change for change, _options in changed if change.path.startswith(os.path.join(over or "/", ""))]


def debts_of(module: AnsibleModule, changed: list[Wanted]) -> set[str]:
    """Return what the changes owe, patterns of units replaced by the units that run."""
    owing = [(what, unit) for _change, options in changed for what in OWABLE for unit in options.get(what) or []]
    debts = {f"{what} {owed.full_name(unit)}" for what, unit in owing}
    if any(change.path.startswith(UNIT_FILES) and change.kind != "directory" for change, _options in changed):
        debts.add(owed.DAEMON_RELOAD)
    for debt in [debt for debt in debts if re.search(r"[*?[]", debt)]:
        debts.remove(debt)
        what, pattern = debt.split(" ", 1)
        states = "--state=active,reloading,activating,deactivating"
        command = ["systemctl", "list-units", "--plain", "--no-legend", "--full", states, pattern]
        running = module.run_command(command, check_rc=not module.check_mode)[1].splitlines()
        debts.update(f"{what} {unit.split()[0]}" for unit in running)
    return debts


def bring_about(module: AnsibleModule) -> dict:
    """Make the host as the task wants it, or in check mode find out what that would mean; return the result."""
    state_directory, recovered = module.params["state_directory"], []
    for killed in journal.unfinished(state_directory):
        recovered += [undo["path"] for undo in killed.undo]
        if not module.check_mode:
            killed.take_back()
    wanted = Reader(module.params, module.check_mode).wanted.values()
    found = {change.path: look(change.path) for change, _options in wanted}
    problems = list(filter(None, (obstacle(change, found[change.path]) for change, _options in wanted)))
    if problems:
        raise RefusedError("nothing has changed, because of: " + "; ".join(problems))
    changed = [(change, options) for change, options in wanted if found[change.path] != change]
    # A parent comes before what is in it, and "~" after every path.
    changed.sort(key=lambda it: it[0].path if it[0].kind == "directory" else "~")
    debts = debts_of(module, changed)
    if changed and not module.check_mode:
        switch(module, changed, debts)
    return {
        "changed": bool(changed or recovered),
        "changed_files": [change.path for change, _options in changed],
        "owed": sorted(owed.Owed(state_directory).pending() | debts),
        "recovered": recovered,
        "diff": [diff(*it, found[it[0].path]) for it in changed if module._diff],
    }


def switch(module: AnsibleModule, changed: list[Wanted], debts: set[str]) -> None:
    """Make the changes. What they owe is on the disk before the first of them, so that no kill can lose it."""
    state_directory, new = module.params["state_directory"], set()
    debts_here = owed.Owed(state_directory)
    checks = [check for check in module.params["validate"] if below(check["over"], changed)]
    try:
        with journal.switch(state_directory, [change for change, _options in changed]) as attempt:
            waiting = [check for check in checks if not checked_on_copy(module, check, changed, attempt.home)]
            new = debts_here.add(debts)
            attempt.make()
            for check in waiting:
                run_check(module, check["argv"], changed)
    except BaseException:
        debts_here.clear(new)
        raise


def main() -> None:
    """Run the module."""
    owed.answer(AnsibleModule(argument_spec=arguments(), supports_check_mode=True), bring_about)


if __name__ == "__main__":
    main()
