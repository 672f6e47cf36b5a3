# SPDX-License-Identifier: GPL-3.0-or-later
"""People of an instance, for a load that one person may not make: how often each may ask or post is limited."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from itertools import cycle

from e2e.client import Client

# Starting the application takes seconds, so it is started once for all; ARGV is what `tootctl` reads its words from.
CREATE = """
domain, *names = ARGV
names.each do |name|
  ARGV.replace(["accounts", "create", name, "--email", "#{name}@#{domain}", "--confirmed", "--approve"])
  load "bin/tootctl"
end
"""
# A person may sign in so often from one address: a crowd must not try.
GIVE_TOKENS = """
INSERT INTO oauth_access_tokens (token, scopes, resource_owner_id, created_at)
SELECT given.token, 'read write follow', users.id, now() FROM (VALUES {}) AS given(token, email)
JOIN users USING (email) RETURNING token
"""


@dataclass(frozen=True)
class Person:
    """Somebody with an account, and a client for each of their tokens."""

    username: str
    number: str
    clients: list[Client]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turns", cycle(self.clients))

    @property
    def client(self) -> Client:
        """One of the clients, each in its turn."""
        return next(self._turns)


def people(instance, count: int, tokens: int) -> list[Person]:
    """Make accounts that nobody had before, each with so many tokens."""
    names = [f"load_{secrets.token_hex(5)}" for _number in range(count)]
    domain = instance.owner["email"].partition("@")[2]
    made = instance.app("bundle", "exec", "ruby", "-e", CREATE, domain, *names)
    assert made.stdout.count("OK") == count, made.stdout + made.stderr
    given = {name: [secrets.token_urlsafe(24) for _number in range(tokens)] for name in names}
    rows = ", ".join(f"('{token}', '{name}@{domain}')" for name, mine in given.items() for token in mine)
    assert len(instance.sql(GIVE_TOKENS.format(rows))) == count * tokens
    rows = instance.sql(f"SELECT username, id FROM accounts WHERE username IN {tuple(names)} AND domain IS NULL")
    numbers = dict(row.split("|") for row in rows)
    return [
        Person(name, numbers[name], [Client.from_summary(instance.summary, token) for token in given[name]])
        for name in names
    ]
