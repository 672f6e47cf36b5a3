# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection to Redis with nothing but the standard library: questions go out together, answers come in order."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

START = "systemctl status redis-server; journalctl -u redis-server"


class RedisError(Exception):
    """Redis does not do what was asked. The message names where it is, and what to do."""


class RedisClient:
    """A connection. Answers are bytes, whole numbers, None, or lists of these; where: as people are told."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self.connection = connection
        self.stream = connection.makefile("rwb")
        self.where = where

    @classmethod
    def at(
        cls,
        host: str,
        port: int,
        *,
        password: str | None = None,
        tls: bool = False,
        ca_file: str | None = None,
        timeout_seconds: float = 5,
    ) -> RedisClient:
        """Connect to an address, by TLS or plainly, and sign in.

        ca_file: authority of its certificate, which must name the host; by default those that the system trusts.
        Raises RedisError.
        """
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            connection = socket.create_connection((host, port), timeout_seconds)
        except OSError as error:
            raise RedisError(
                f"Redis at {where} cannot be reached ({error}). Look on its host: {START}. If it runs there, its "
                "`bind`, or the firewall, does not let this host in: run the playbook fediops.mastodon.site."
            ) from error
        try:
            if tls:
                connection = ssl.create_default_context(cafile=ca_file).wrap_socket(connection, server_hostname=host)
        except OSError as error:
            connection.close()
            raise RedisError(
                f"Redis at {where} does not speak TLS as it should ({error}): `tls` must be what "
                "mastodon_internal_tls_enabled is, and `ca_file` the authority of its certificate."
            ) from error
        return cls(connection, where).signed_in(password)

    @classmethod
    def over(cls, path: str, *, password: str | None = None, timeout_seconds: float = 5) -> RedisClient:
        """Connect over a socket of this host, and sign in. Raises RedisError."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(path)
        except OSError as error:
            connection.close()
            raise RedisError(f"Redis at {path} cannot be reached ({error}). Look: {START}") from error
        return cls(connection, path).signed_in(password)

    def signed_in(self, password: str | None) -> RedisClient:
        """Say the password, if there is one, and return this connection. Raises RedisError."""
        if password:
            try:
                self.ask("AUTH", password)
            except RedisError:
                self.close()
                raise
        return self

    def close(self) -> None:
        """End the connection."""
        self.stream.close()
        self.connection.close()

    def ask(self, *words: str | int) -> object:
        """Return the answer to a command. Raises RedisError."""
        return self.ask_all([words])[0]

    def ask_all(self, commands: Sequence[Sequence[str | int]]) -> list[object]:
        """Return the answers to several commands, sent in one go. Raises RedisError for the first that fails."""
        try:
            self.stream.write(b"".join(map(_encoded, commands)))
            self.stream.flush()
            return [self._answer() for _command in commands]
        except (OSError, ValueError) as error:
            raise RedisError(
                f"Redis at {self.where} broke off ({error or type(error).__name__}). Look on its host: {START}"
            ) from error

    def _answer(self) -> object:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("it closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise self._refusal(rest.decode("utf-8", "replace"))
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return [self._answer() for _number in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"+":
            return rest
        raise ValueError("what it says is not Redis's: is it the right port, and is TLS meant?")

    def _exactly(self, length: int) -> bytes:
        text = self.stream.read(length + 2)
        if len(text) != length + 2:
            raise ConnectionError("it closed the connection")
        return text[:-2]

    def _refusal(self, said: str) -> RedisError:
        advice = {
            "WRONGPASS": "Its password is `requirepass` of /etc/redis/redis.conf on its host, and has to be "
            "mastodon_redis_password of the inventory: run the playbook fediops.mastodon.site if they differ.",
            "NOAUTH": "It wants a password: give mastodon_redis_password of the inventory.",
            "LOADING": "It has just started and reads its data from disk: try again in a moment.",
        }
        return RedisError(f"Redis at {self.where} says: {said} {advice.get(said.split(' ', 1)[0], '')}".rstrip())


def _encoded(words: Sequence[str | int]) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
