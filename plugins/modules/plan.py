#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action plugin of the same name, which does the work on the control machine."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: plan
short_description: Compute every size of the fleet, once
version_added: 0.1.0
author:
  - fediops contributors (@fediops)
description:
  - Computes workers, threads, pools, memory and connections for all hosts of the inventory from their size and from
    what a person overrode, checks that they fit together, and says why each number is what it is.
  - Runs once for all hosts of a play, on the control machine, and connects to nothing. Give it C(register), and read
    the sizes of a host from C(plan.hosts).
  - All hosts of the inventory are planned, also those outside C(--limit).
  - A host's size is what C(vm_vcpus), C(vm_memory_mb) and C(vm_address) declare, else what its
    facts say, of this run or cached. A host whose size is not known is refused by name.
  - These variables of a host take part in the plan where they are set, at any level of the inventory - C(web_workers),
    C(web_threads), C(sidekiq_queues), C(sidekiq_processes), C(sidekiq_concurrency), C(streaming_processes),
    C(pgbouncer_pool_size), C(pgbouncer_max_client_conn), C(postgres_max_connections),
    C(postgres_replica_max_lag_seconds) and C(mastodon_env).
  - For the whole fleet count C(mastodon_s3_enabled), C(mastodon_internal_tls_enabled),
    C(mastodon_central_logs_enabled), C(mastodon_monthly_active_users), C(mastodon_requests_per_second),
    C(mastodon_plan_coefficients) and C(mastodon_plan_silenced), a list of constraints of which no warning is wanted.
  - If a constraint does not hold, the task fails with all findings at once, each with what to change. Warnings are
    shown and do not fail the task.
options:
  file:
    description:
      - Write the plan as JSON to this file on the control machine, readable by its owner only.
      - A plan that does not hold is not written, so that the next is compared with the last that did.
      - With C(--limit) the whole plan is written too, and, under C(waiting), what the hosts outside the limit had
        before that are planned otherwise now; they are compared with that until they take part in a run.
    type: path
  gone:
    description:
      - Hosts of the inventory that have left the fleet, by O(leaving) before. All is planned as if the inventory had
        not got them, and none of the others lets them in any more; they themselves let in Ansible alone.
    type: list
    elements: str
    default: []
  leaving:
    description:
      - Hosts of the inventory that leave the fleet and still run. All is planned as if the inventory had not got them,
        so that nobody uses them any more.
      - What runs on them still reaches what it uses, and who used them still reaches them - firewalls, clients of
        PostgreSQL, where services listen, slots of replicas and trusted proxies stay until the hosts are O(gone).
      - The primary of PostgreSQL, the core of Redis and the Redis of the queues may not leave, nor the last host of a
        tier, nor the only one that serves a queue, nor one without which a constraint does not hold.
    type: list
    elements: str
    default: []
  page:
    description:
      - Write the plan as a page to this file on the control machine, one file of HTML that needs no network, readable
        by its owner only.
      - A plan that does not hold is written too, with what is wrong at its top; see O(provisional).
    type: path
  previous:
    description:
      - The file of an earlier plan, to compare this one with; by default what O(file) holds before it is written.
      - A file that is not there, or holds no plan, is not compared with.
    type: path
  propose:
    description:
      - Look for the cheapest layout that carries C(mastodon_monthly_active_users) or C(mastodon_requests_per_second),
        by the prices of C(mastodon_price_table).
    type: bool
    default: false
  running:
    description:
      - The file of the plan that was run last; by default the earlier plan that is compared with.
      - Processes of Sidekiq keep the queues, and hosts the pooler, that they have there, so that little restarts when
        hosts join.
    type: path
  provisional:
    description:
      - Plan for a look, and not for a run. A host of unknown size or address counts as 2 vCPU and 4096 MB, with a
        warning that names it.
      - A plan that does not hold does not fail the task; read RV(refusal).
    type: bool
    default: false
  show_warnings:
    description: Whether to show the warnings of the plan. They are in RV(plan.findings) in any case.
    type: bool
    default: true
attributes:
  check_mode:
    support: full
    description: The plan is computed and compared as ever; O(file) and O(page) are not written.
  diff_mode:
    support: full
    description: Shows what differs from the earlier plan, and which services a run would restart for it.
"""

EXAMPLES = r"""
---
- name: Compute the plan of the whole fleet
  fediops.mastodon.plan:
  register: mastodon_fleet

- name: Show the sizes
  ansible.builtin.debug:
    msg: "{{ mastodon_fleet.plan.table.splitlines() }}"
  run_once: true

- name: Keep the plan for other tools and for people, outside of what Ansible reads as inventory
  fediops.mastodon.plan:
    file: "{{ inventory_dir }}/.plan/plan.json"
    page: "{{ inventory_dir }}/.plan/plan.html"

- name: Plan the fleet without a host that still runs
  fediops.mastodon.plan:
    leaving: [worker2]
  register: mastodon_fleet

- name: Compare with the plan of last week
  fediops.mastodon.plan:
    previous: plans/last_week.json
  register: mastodon_fleet

- name: Show what would restart
  ansible.builtin.debug:
    msg: "{{ mastodon_fleet.comparison.services | selectattr('effect', 'eq', 'restart') }}"
  run_once: true
"""

RETURN = r"""
---
plan:
  description: Sizes of all hosts, what does not hold, and a table for people.
  returned: success
  type: dict
  contains:
    hosts:
      description:
        - For each host its sizes - C(host), C(endpoints), C(firewall), C(memory), C(kernel), C(reasons), and one key
          for each component that runs there.
        - Empty if the inventory does not describe a fleet that can be planned.
      type: dict
      returned: always
    leaving:
      description: For each host of O(leaving) and O(gone) what it has in the fleet that it leaves, like RV(plan.hosts).
      type: dict
      returned: always
    groups:
      description:
        - For each group of the inventory contract and each child group of C(sidekiq) its hosts that stay, in the order
          of the inventory; groups without any are there too. Empty if RV(plan.hosts) is.
      type: dict
      returned: always
    builder:
      description: The host that builds releases and migrates the database; null if RV(plan.hosts) is empty.
      type: str
      returned: always
    flows:
      description: Who talks to whom.
      type: list
      elements: dict
      returned: always
      contains:
        from:
          description: A host, V(world) or V(control).
          type: str
          returned: always
        to:
          description: A host.
          type: str
          returned: always
        port:
          description: The port on which RV(plan.flows[].to) listens.
          type: int
          returned: always
        protocol:
          description: Always V(tcp).
          type: str
          returned: always
        what:
          description: Which component talks to which.
          type: str
          returned: always
        purpose:
          description: What for.
          type: str
          returned: always
        pool:
          description: How many connections at most; null where nothing limits them.
          type: int
          returned: always
    metrics:
      description: What the group C(metrics) collects; both lists are empty where the group has no host.
      type: dict
      returned: always
      contains:
        targets:
          description:
            - Each thing that is asked - C(job), C(host), C(address), C(port) and C(labels).
            - A label whose name begins with two underscores says how to ask.
          type: list
          elements: dict
          returned: always
        planned:
          description: The numbers of the plan that are held against what is collected - C(name), C(labels), C(value).
          type: list
          elements: dict
          returned: always
    totals:
      description: Sums over the fleet, such as C(database_clients), C(pool_size) and C(sidekiq_threads).
      type: dict
      returned: always
    demand:
      description: What the users need beside what there is; null where the inventory names no number of users.
      type: dict
      returned: always
    findings:
      description: What does not hold, and what to look at although the plan holds.
      type: list
      elements: dict
      returned: always
      contains:
        constraint:
          description: Which constraint, such as V(C6); V(input) and V(inventory) for what cannot be read.
          type: str
          returned: always
        severity:
          description: V(error) or V(warning).
          type: str
          returned: always
        hosts:
          description: The hosts it is about.
          type: list
          elements: str
          returned: always
        message:
          description: What does not hold, with numbers.
          type: str
          returned: always
        advice:
          description: What to change, ready to type.
          type: str
          returned: always
        remedy:
          description: Values of inventory variables with which it holds; empty if there is no single one.
          type: dict
          returned: always
    table:
      description: The sizes as text; of one host with the reason of each, of several in a row for those that are alike.
      type: str
      returned: always
refusal:
  description: Why a run would be refused, all of it as text; empty if it would not.
  returned: success
  type: str
comparison:
  description: What differs from the earlier plan; null where there is none.
  returned: success
  type: dict
  contains:
    hosts:
      description: The hosts whose part of the plan differs.
      type: list
      elements: str
      returned: always
    added:
      description: The hosts that the earlier plan did not have.
      type: list
      elements: str
      returned: always
    removed:
      description: The hosts that only the earlier plan had.
      type: list
      elements: str
      returned: always
    changes:
      description:
        - Each value that differs - C(hosts), C(what), C(before), C(after), and with which C(effect) on which
          C(services).
      type: list
      elements: dict
      returned: always
    services:
      description:
        - For each service that a run would V(start), V(stop), V(restart) or V(reload) the C(effect) and C(hosts).
      type: list
      elements: dict
      returned: always
    text:
      description: All of it as text.
      type: str
      returned: always
    announcement:
      description:
        - What the run does to what runs already, on the hosts that take part in it, and what people notice of it.
        - Short, and empty if nothing differs on them.
      type: str
      returned: always
outside_limit:
  description: The hosts outside C(--limit) whose part of the plan differs, so that they need a run too.
  returned: success
  type: list
  elements: str
proposal:
  description: The cheapest layout that carries the users; null where the inventory names no number of them.
  returned: if O(propose) is set
  type: dict
"""
