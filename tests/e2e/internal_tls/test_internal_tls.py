# SPDX-License-Identifier: GPL-3.0-or-later
"""Between hosts nothing is said in the clear, and each shows a certificate of the fleet's authority.

By name only, on a fleet that was rehearsed with `mastodon_internal_tls_enabled: true` (see docs/testing.md).
"""

from __future__ import annotations

import json

import pytest
from bench.record import record
from e2e.instance import wait_until

pytestmark = pytest.mark.by_name

CA, CERTIFICATE = "/etc/ssl/mastodon/ca.pem", "/etc/ssl/mastodon/internal.pem"
RENEW_SECONDS = 30
# Runs inside a host: whether a port speaks first, or answers, without TLS. A Redis says -NOAUTH or +PONG.
PLAINLY = """
import json, socket, sys
address, port, said = json.loads(sys.stdin.read())
with socket.create_connection((address, port), timeout=5) as connection:
    connection.sendall(said.encode())
    try:
        print(connection.recv(100).decode("latin-1"))
    except OSError:
        print("")
"""


@pytest.fixture(scope="module", autouse=True)
def recorded(request, instance):
    """Write down that all of it passed, and on how many hosts."""
    yield
    if not request.session.testsfailed:
        record("internal_tls", {"hosts": {name: host.groups for name, host in instance.hosts.items()}})


def served(host, target, port, *options):
    """The serial number of the certificate that a host shows another, verified by the fleet's authority."""
    said = host.output(
        "openssl", "s_client", "-connect", f"{target.address}:{port}", "-CAfile", CA, "-verify_return_error",
        "-verify_ip", target.address, *options,
    )  # fmt: skip
    return host.output("openssl", "x509", "-noout", "-serial", stdin=said[said.index("-----BEGIN") :])


def own(host):
    """The serial number of the certificate that a host has."""
    return host.output("openssl", "x509", "-noout", "-serial", "-in", CERTIFICATE)


@pytest.fixture(scope="module")
def web(instance):
    return instance.hosts_of("web")[0]


@pytest.fixture(scope="module")
def postgres(instance):
    return instance.hosts_of("postgres_primary")[0]


@pytest.fixture(scope="module")
def redis(instance):
    return instance.hosts_of("redis_core")[0]


def test_every_connection_to_postgresql_from_another_host_is_encrypted(instance):
    found = instance.sql(
        "SELECT ssl, count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        "WHERE client_addr IS NOT NULL AND client_addr <> '127.0.0.1' GROUP BY ssl"
    )
    assert [row.split("|")[0] for row in found] == ["t"]


def test_redis_answers_nobody_who_speaks_plainly(web, redis):
    said = web.output("python3", "-c", PLAINLY, stdin=json.dumps([redis.address, 6379, "PING\r\n"]))
    assert not said.startswith(("-NOAUTH", "+PONG"))


def test_certificates_are_those_of_the_hosts(web, postgres, redis):
    assert served(web, redis, 6379) == own(redis)
    assert served(web, postgres, 5432, "-starttls", "postgres") == own(postgres)


def test_the_way_from_the_edge_to_web_and_streaming_is_encrypted(instance):
    apart = [host for host in instance.hosts_of("nginx") if not {"web", "streaming"} & set(host.groups)]
    for edge in apart:
        for tier, port in (("web", 3000), ("streaming", 4000)):
            for host in instance.hosts_of(tier):
                assert served(edge, host, port) == own(host)
                plain = edge.run("curl", "--silent", "--max-time", "5", f"http://{host.address}:{port}/health")
                assert plain.status != 0 or "OK" not in plain.stdout


def test_a_certificate_near_its_end_is_made_anew_and_served_without_a_restart(web, redis, run_site):
    started = redis.processes("redis-server*")
    old = served(web, redis, 6379)
    # As if two thirds of its life were over: all that a run looks at is how many days are left.
    run = run_site("--limit", redis.name, "-e", json.dumps({"certificates_internal_days": 3000}), check=False)
    assert run.status == 0, run.output
    wait_until(lambda: served(web, redis, 6379) != old, RENEW_SECONDS, "another certificate")
    assert redis.processes("redis-server*") == started
