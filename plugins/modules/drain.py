#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes ports of a host out of service and back, without a word to those who use them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drain
short_description: Closes ports of a host to new connections, and waits until those that are open have ended
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - A load balancer that is refused sends the request elsewhere, writes included, because nothing of it was sent yet. So
    new connections to a drained port are refused at once; those that are open go on, and are waited for.
  - Connections from the host itself are not concerned, so that what is behind the port can be tried meanwhile.
  - It is a table of nftables of its own (C(inet fediops_drain)), which neither the rules of the firewall nor a reload
    of them touch. It is gone after a reboot.
  - After O(expire_seconds) the host opens the ports again by itself, so that a run that was broken off takes no host
    out of service for good.
options:
  ports:
    description: TCP ports, all that are to be closed on this host. Those that an earlier call closed are open again.
    type: list
    elements: int
    default: []
  state:
    description:
      - V(drained) closes the ports and waits.
      - V(left) only waits until nobody is connected to them any more.
      - V(open) opens all that this module closed.
    type: str
    choices: [drained, left, open]
    default: drained
  wait_seconds:
    description:
      - How long open connections are waited for. Those that are left then are not cut, and are counted in RV(left).
      - With V(open), how long to wait if anything was closed, until those who were refused come again.
    type: int
    default: 30
  expire_seconds:
    description: After how long the ports are open again without a further call; V(0) for never.
    type: int
    default: 600
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
  idempotent:
    description: Ports that are closed are closed for as long again, which is no change.
    support: full
  platform:
    description: Linux with nftables.
    platforms: linux
    support: full
"""

EXAMPLES = r"""
- name: Let nobody new in, and wait for who is there
  fediops.mastodon.drain:
    ports: [3000]

- name: Wait until the pools of all clients have moved to another pooler
  fediops.mastodon.drain:
    ports: [6432]
    state: left
  register: users
  failed_when: users.left > 0

- name: Let them in again
  fediops.mastodon.drain:
    state: open
    wait_seconds: 11
"""

RETURN = r"""
left:
  description: Connections to the ports that were still open at the end.
  returned: when O(state) is V(drained) or V(left)
  type: int
by:
  description: Whose connections those are, each address once.
  returned: when O(state) is V(drained) or V(left)
  type: list
  elements: str
  sample: [10.0.0.11]
waited_seconds:
  description: How long was waited.
  returned: always
  type: float
"""

import json
import os
import time
from collections.abc import Iterable
from ipaddress import ip_address

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils.drained import MARK, closed_ports

TABLE = "inet fediops_drain"
CONNECTIONS = ("/proc/net/tcp", "/proc/net/tcp6")
ESTABLISHED = "01"
POLL_SECONDS = 0.5
RULES = """table {table}
delete table {table}
table {table} {{
  set closed {{ type inet_service; flags timeout; elements = {{ {elements} }} }}
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname != "lo" tcp dport @closed tcp flags & (syn | ack) == syn reject with tcp reset
  }}
}}
"""
NO_RULES = f"table {TABLE}\ndelete table {TABLE}\n"


def rules(ports: Iterable[int], expire_seconds: int) -> str:
    """Return what nft is to load so that exactly these ports are closed, for so long (0: until they are opened)."""
    timeout = f" timeout {expire_seconds}s" if expire_seconds else ""
    return RULES.format(table=TABLE, elements=", ".join(f"{port}{timeout}" for port in sorted(ports)))


def address(text: str):
    """Return the address that the kernel prints as groups of four bytes, each in the order of this machine's bytes."""
    groups = [int(text[start : start + 8], 16).to_bytes(4, "little") for start in range(0, len(text), 8)]
    found = ip_address(b"".join(groups))
    return getattr(found, "ipv4_mapped", None) or found


def connections(table: str, ports: Iterable[int]) -> list[str]:
    """Return who has connections to the ports in a table like /proc/net/tcp, an address for each; others only."""
    wanted, found = set(ports), []
    for line in table.splitlines()[1:]:
        _slot, here, there, state = line.split()[:4]
        local, port = here.split(":")
        own, other = address(local), address(there.split(":")[0])
        if state == ESTABLISHED and int(port, 16) in wanted and own != other and not other.is_loopback:
            found.append(str(other))
    return found


def open_connections(ports: Iterable[int]) -> list[str]:
    """Return who has connections to the ports now, an address for each."""
    found = []
    for path in CONNECTIONS:
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                found += connections(file.read(), ports)
    return found


def load(module: AnsibleModule, text: str, mark: dict | None) -> None:
    """Load rules, and note beside them what is closed until when; or that nothing is."""
    status, _out, error = module.run_command(["nft", "-f", "-"], data=text)
    if status != 0:
        module.fail_json(msg=f"nftables did not take the rules that drain this host: {error.strip()}")
    if mark is None:
        if os.path.exists(MARK):
            os.remove(MARK)
        return
    os.makedirs(os.path.dirname(MARK), mode=0o755, exist_ok=True)
    with open(f"{MARK}.part", "w", encoding="utf-8") as file:
        json.dump(mark, file)
    os.replace(f"{MARK}.part", MARK)


def drain(module: AnsibleModule, *, close: bool) -> dict:
    """Close the ports, or leave them as they are, and wait for who is connected."""
    params = module.params
    ports, began, expire = sorted(set(params["ports"])), time.monotonic(), params["expire_seconds"]
    if not ports or not all(0 < port < 65536 for port in ports):
        module.fail_json(msg=f"ports are {params['ports']}; give TCP ports from 1 to 65535, at least one")
    changed = close and closed_ports() != ports
    if close and not module.check_mode:
        load(module, rules(ports, expire), {"ports": ports, "until": time.time() + expire if expire else None})
    left = open_connections(ports)
    while left and not module.check_mode and time.monotonic() - began < params["wait_seconds"]:
        time.sleep(POLL_SECONDS)
        left = open_connections(ports)
    waited = round(time.monotonic() - began, 1)
    return {"changed": changed, "left": len(left), "by": sorted(set(left)), "waited_seconds": waited}


def reopen(module: AnsibleModule) -> dict:
    """Open what is closed, and give those who were refused the time to come again."""
    closed = bool(closed_ports())
    if closed and not module.check_mode:
        load(module, NO_RULES, None)
        time.sleep(module.params["wait_seconds"])
    waited = float(module.params["wait_seconds"]) if closed and not module.check_mode else 0.0
    return {"changed": closed, "waited_seconds": waited}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "ports": {"type": "list", "elements": "int", "default": []},
            "state": {"type": "str", "choices": ["drained", "left", "open"], "default": "drained"},
            "wait_seconds": {"type": "int", "default": 30},
            "expire_seconds": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    module.exit_json(**(reopen(module) if state == "open" else drain(module, close=state == "drained")))


if __name__ == "__main__":
    main()
