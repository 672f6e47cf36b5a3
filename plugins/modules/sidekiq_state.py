#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what Sidekiq is doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sidekiq_state
short_description: See Sidekiq's queues, processes and running jobs
version_added: 0.1.0
author:
  - The fediops.mastodon contributors (@fediops)
description:
  - Asks Redis what Sidekiq 7 and 8 keep there, in three exchanges, whatever the size of the queues. It changes nothing,
    and needs neither C(redis-cli) nor a Python package on the host.
  - A process tells of itself with each beat, every ten seconds. So C(busy), C(quiet) and RV(jobs) may be that old, and
    a process that was killed is listed for up to a minute. What belongs together is of one beat - a process that is
    C(quiet) with C(busy) 0 will not begin another job.
options:
  host:
    description: Where the Redis of the queues listens.
    type: str
    default: 127.0.0.1
  port:
    description: Its port.
    type: int
    default: 6379
  password:
    description: Its password.
    type: str
  tls:
    description: Whether to speak TLS.
    type: bool
    default: false
  ca_file:
    description: With O(tls), the authority of its certificate on this host; by default those that the host trusts.
    type: path
  timeout:
    description: How many seconds to wait for the connection, and for each answer.
    type: int
    default: 5
  hostname:
    description:
      - Leaves out of RV(processes) and RV(jobs) what is not on the host that calls itself so.
      - RV(hostname) says what the host is called on which the module runs.
    type: str
attributes:
  check_mode:
    description: It only reads.
    support: full
  diff_mode:
    description: It only reads.
    support: none
  platform:
    description: Linux.
    platforms: linux
    support: full
"""

EXAMPLES = r"""
- name: Look at the queues
  fediops.mastodon.sidekiq_state:
    host: 10.0.0.9
    password: "{{ mastodon_redis_password }}"
  register: sidekiq

- name: Wait until nothing runs on this host any more
  fediops.mastodon.sidekiq_state:
    host: 10.0.0.9
    password: "{{ mastodon_redis_password }}"
    tls: true
    ca_file: /etc/ssl/mastodon/ca.pem
    hostname: "{{ ansible_facts['hostname'] }}"
  register: sidekiq
  until: sidekiq.processes | rejectattr('quiet') | length == 0 and sidekiq.processes | map(attribute='busy') | sum == 0
  retries: 30
  delay: 2
"""

RETURN = r"""
queues:
  description: The seven queues of Mastodon, and whatever others there are, whether or not a process serves them.
  returned: success
  type: dict
  contains:
    QUEUE:
      description: The name of a queue.
      type: dict
      returned: success
      contains:
        size:
          description: How many jobs wait.
          type: int
          returned: success
        latency_seconds:
          description: For how long the oldest of them has waited; 0 where none waits.
          type: float
          returned: success
  sample:
    default: {size: 12, latency_seconds: 1.5}
    push: {size: 0, latency_seconds: 0.0}
processes:
  description: The processes of the whole fleet that beat, in the order of their identities.
  returned: success
  type: list
  elements: dict
  contains:
    identity:
      description: Host, process and a random number. Each start has another.
      type: str
      returned: success
    hostname:
      description: What its host calls itself.
      type: str
      returned: success
    tag:
      description: The folder that it runs in, which is the release.
      type: str
      returned: success
    queues:
      description: The queues that it serves.
      type: list
      elements: str
      returned: success
    concurrency:
      description: How many jobs it can run at once.
      type: int
      returned: success
    busy:
      description: How many it runs.
      type: int
      returned: success
    quiet:
      description: Whether it was told to begin no other job.
      type: bool
      returned: success
    started_at:
      description: When it started, in seconds since 1970.
      type: float
      returned: success
    beat_age_seconds:
      description: How long ago it told of itself.
      type: float
      returned: success
  sample:
    - identity: worker1:4530:50a5df3c9087
      hostname: worker1
      tag: v4.6.5-0123456789-abcdef
      queues: [default, mailers]
      concurrency: 15
      busy: 3
      quiet: false
      started_at: 1795877520.6
      beat_age_seconds: 4.1
jobs:
  description: The jobs that run.
  returned: success
  type: list
  elements: dict
  contains:
    identity:
      description: The process.
      type: str
      returned: success
    hostname:
      description: Its host.
      type: str
      returned: success
    queue:
      description: The queue that the job came from.
      type: str
      returned: success
    class:
      description: What kind of job it is.
      type: str
      returned: success
    jid:
      description: Its number.
      type: str
      returned: success
    running_seconds:
      description: For how long it has run.
      type: float
      returned: success
  sample:
    - identity: worker1:4530:50a5df3c9087
      hostname: worker1
      queue: default
      class: DistributionWorker
      jid: 0123456789abcdef01234567
      running_seconds: 0.5
scheduled:
  description: How many jobs wait for their time.
  returned: success
  type: int
retries:
  description: How many jobs failed and will be tried again.
  returned: success
  type: int
dead:
  description: How many jobs failed too often.
  returned: success
  type: int
processed:
  description: How many jobs have run since the beginning, those that failed among them.
  returned: success
  type: int
failures:
  description: How often a job failed.
  returned: success
  type: int
hostname:
  description: What the host calls itself on which the module ran, as Sidekiq does there.
  returned: success
  type: str
"""

import contextlib
import socket

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.fediops.mastodon.plugins.module_utils.redis_client import RedisClient, RedisError
from ansible_collections.fediops.mastodon.plugins.module_utils.sidekiq import read_state


def arguments() -> dict:
    """Return the argument specification."""
    return {
        "host": {"type": "str", "default": "127.0.0.1"},
        "port": {"type": "int", "default": 6379},
        "password": {"type": "str", "no_log": True},
        "tls": {"type": "bool", "default": False},
        "ca_file": {"type": "path"},
        "timeout": {"type": "int", "default": 5},
        "hostname": {"type": "str"},
    }


def look(params: dict) -> dict:
    """Return the state that the arguments ask for. Raises RedisError."""
    access = {"password": params["password"], "tls": params["tls"], "ca_file": params["ca_file"]}
    redis = RedisClient.at(params["host"], params["port"], **access, timeout_seconds=params["timeout"])
    with contextlib.closing(redis):
        state = read_state(redis)
    if params["hostname"] is not None:
        for part in ("processes", "jobs"):
            state[part] = [one for one in state[part] if one["hostname"] == params["hostname"]]
    return state | {"hostname": socket.gethostname()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=arguments(), supports_check_mode=True)
    try:
        state = look(module.params)
    except RedisError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **state)


if __name__ == "__main__":
    main()
