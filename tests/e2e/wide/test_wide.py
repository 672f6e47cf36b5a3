# SPDX-License-Identifier: GPL-3.0-or-later
"""Two of each part of which there can be several, and each part of Redis on a host of its own: each does its share."""

from __future__ import annotations

import re
import subprocess
import time
import uuid
from contextlib import contextmanager

import pytest
from bench.record import record
from e2e.client import Client, http_session
from e2e.edge import Edge
from e2e.instance import wait_until
from e2e.picture import picture
from e2e.pooler import Pooler
from e2e.readers import (
    BACK_SECONDS,
    CLUSTER,
    COUNTED_SECONDS,
    HOME,
    NOTIFICATIONS,
    OUT_SECONDS,
    READS,
    at_home,
    nothing_is_noticed,
    post,
    read,
    scans,
    wait_until_read_on,
)

COPY = "/usr/local/lib/fediops/replica_copy"
PARTS = ["core", "replica", "cache", "sidekiq"]
REDIS, REDIS_PORT = "redis-server.service", 6379
# Keys of feeds and limits, of what was cached, and of Sidekiq; each is in these parts alone.
KEYS = {
    r"feed:|rate_limit:|subscribed:": {"core", "replica"},
    r"cache:": {"cache"},
    r"queues?\b|processes$|stat:|schedule|retry$|dead$": {"sidekiq"},
}
WORKERS = "mastodon-sidekiq@*.service"
SECONDS = 30
# What somebody waits for at most while the cache is away. The application waits for each answer of one that is silent.
PATIENCE_SECONDS = {"refuses": 2, "is silent": 20}
LIMITED = "/api/v1/timelines/public"
ASKED, CLAIMED = 5, "198.51.100.77"


@pytest.fixture(scope="module", autouse=True)
def measured(request, instance):
    """What tests measured; written down when all of them ran and passed, with their number, and the hosts."""
    found = {}
    yield found
    reports = request.config.pluginmanager.getplugin("terminalreporter").stats.get("passed", [])
    passed = [report for report in reports if report.nodeid.startswith(request.node.nodeid)]
    if not request.session.testsfailed and not request.config.option.keyword:
        hosts = {name: host.groups for name, host in instance.hosts.items()}
        record("wide", {"hosts": hosts, "passed": len(passed), **found})


@pytest.fixture(scope="module")
def client(instance):
    return instance.another_client()


@pytest.fixture(scope="module")
def edges(summary, hosts_of):
    return [Edge(summary, host, host.name) for host in hosts_of("nginx")]


@pytest.fixture(scope="module")
def through(summary, client):
    """A client of the same person, whose every name leads to an edge."""

    def lead(edge):
        places = dict.fromkeys(summary["resolve"], edge.host.address)
        return Client(client.url, client.ca_file, client.token, places)

    return lead


@pytest.fixture(scope="module")
def parts(instance):
    """{part of Redis: its host}"""
    return {part: instance.host_of(f"redis_{part}") for part in PARTS}


def ask(host, *words):
    """The lines that the Redis of this host answers to root."""
    return host.output("mastodon-redis", "cli", *words).splitlines()


@contextmanager
def stopped(unit, *hosts):
    """Stop a unit for a while."""
    ran = {host.name: host.active(unit) for host in hosts}
    assert all(ran.values())
    for host in hosts:
        host.output("systemctl", "stop", *ran[host.name])
    try:
        yield
    finally:
        for host in hosts:
            host.output("systemctl", "start", *ran[host.name])


class TestReplicas:
    @pytest.mark.parametrize(("path", "table"), [(HOME, "statuses"), (NOTIFICATIONS, "notifications")])
    def test_reads_of_many_are_spread_and_none_is_on_the_primary(
        self, client, clients, instance, replicas, path, table
    ):
        wait_until(lambda: post(client) in at_home(client), SECONDS, "something to read")
        before = scans(instance.primary, table)
        wait_until_read_on(replicas, clients, BACK_SECONDS, path, table)
        time.sleep(COUNTED_SECONDS)
        assert scans(instance.primary, table) - before < READS

    @pytest.mark.parametrize("number", [0, -1], ids=["the first", "the last"])
    def test_one_stops_and_nobody_notices(self, client, clients, instance, replicas, number):
        gone = replicas[number]
        rest = [host for host in replicas if host is not gone]
        with nothing_is_noticed(instance):
            with stopped(CLUSTER, gone):
                posted = post(client)
                wait_until(lambda: posted in at_home(client), SECONDS, "a status that is newer than what it has")
                before = scans(instance.primary)
                wait_until_read_on(rest, clients, OUT_SECONDS)
                time.sleep(COUNTED_SECONDS)
                assert scans(instance.primary) - before < READS
            time.sleep(3)
        wait_until_read_on(replicas, clients, BACK_SECONDS)

    def unread(self, host, clients):
        """Whether a host is not read for a while, although everybody asks."""

        def look():
            before = scans(host)
            for one in clients:
                at_home(one)
            time.sleep(COUNTED_SECONDS)
            return scans(host) == before

        return look

    def test_one_lags_and_the_others_are_read(self, client, clients, instance, replicas):
        late, *_rest = replicas
        with nothing_is_noticed(instance):
            late.sql("SELECT pg_wal_replay_pause()")
            try:
                posted = post(client)
                # Connections that are there are left alone at first, and used for a minute at most.
                wait_until(self.unread(late, clients), 2 * OUT_SECONDS, f"the end of reads on {late.name}")
                before = scans(instance.primary)
                assert all(posted in at_home(one) for one in clients)
                time.sleep(COUNTED_SECONDS)
                assert scans(instance.primary) - before < READS
            finally:
                late.sql("SELECT pg_wal_replay_resume()")
        wait_until_read_on(replicas, clients, BACK_SECONDS)

    def test_copies_are_made_at_once_while_the_primary_drops_its_log(self, clients, instance, replicas):
        """What a copy begins with is kept for it, whatever checkpoints come before it has its connections."""
        with nothing_is_noticed(instance):
            copies = [host.begin(COPY, "anew") for host in replicas]
            while any(copy.poll() is None for copy in copies):
                instance.sql("SELECT pg_logical_emit_message(true, 'test', 'x'), pg_switch_wal()")
                instance.sql("CHECKPOINT")
            ends = [(copy.returncode, copy.stdout.read()) for copy in copies]
            for host in replicas:
                host.output("systemctl", "start", CLUSTER)
        assert [(status, said) for status, said in ends if status] == []
        assert instance.sql("SELECT wal_status, active FROM pg_replication_slots") == ["reserved|t"] * len(replicas)
        wait_until_read_on(replicas, clients, BACK_SECONDS)


class TestRedis:
    def test_each_key_is_in_the_part_that_it_belongs_to(self, client, parts):
        wait_until(lambda: post(client) in at_home(client), SECONDS, "a feed")
        keys = {part: ask(host, "--scan") for part, host in parts.items()}
        found = {
            pattern: {part for part in PARTS if any(re.match(pattern, key) for key in keys[part])} for pattern in KEYS
        }
        assert found == KEYS

    def test_what_waits_is_in_the_queues_part_alone(self, client, instance, parts):
        with stopped(WORKERS, *instance.hosts_of("sidekiq")):
            posted = post(client)
            waiting = {part for part, host in parts.items() if ask(host, "LLEN", "queue:default") != ["0"]}
            assert waiting == {"sidekiq"}
        wait_until(lambda: posted in at_home(client), SECONDS, "the work of the job")
        account = client.api.me()["id"]
        key = f"feed:home:{account}"
        held = {part for part, host in parts.items() if posted in ask(host, "ZRANGE", key, "-10", "-1")}
        assert held == {"core", "replica"}

    def test_the_copy_of_the_core_is_linked_and_takes_nothing(self, instance, parts):
        copy, name = parts["replica"], f"e2e:{uuid.uuid4()}"
        said = dict(line.split(":", 1) for line in ask(copy, "INFO", "replication") if ":" in line)
        assert (said["role"], said["master_link_status"]) == ("slave", "up")
        assert said["master_host"] == parts["core"].address
        assert ask(parts["core"], "SET", name, "written", "EX", "60") == ["OK"]
        wait_until(lambda: ask(copy, "GET", name) == ["written"], SECONDS, "what was written to the core")
        assert ask(copy, "DEL", name)[0].startswith("READONLY")
        assert ask(copy, "GET", name) == ["written"]

    def test_the_copy_listens_for_nobody(self, parts):
        lines = parts["replica"].output("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
        places = [line.split()[3].rpartition(":") for line in lines]
        assert {address for address, _colon, port in places if port == str(REDIS_PORT)} == {"127.0.0.1"}


class TestTheCacheIsAway:
    """What is in it can be made again: it is missed, and nothing else is."""

    @pytest.fixture
    def away(self, how, parts):
        cache = parts["cache"]
        if how == "refuses":
            with stopped(REDIS, cache):
                yield
        else:
            subprocess.run(["docker", "pause", cache.container], check=True, capture_output=True)
            try:
                yield
            finally:
                subprocess.run(["docker", "unpause", cache.container], check=True, capture_output=True)

    @pytest.mark.parametrize("how", PATIENCE_SECONDS)
    def test_pages_home_and_posting_go_on(self, instance, client, measured, how, away):
        status = {"status": f"Without a cache {uuid.uuid4()}"}
        asked = {
            "page": ("GET", f"/@{instance.owner['username']}", {}),
            "home": ("GET", HOME, {}),
            "post": ("POST", "/api/v1/statuses", {"json": status}),
        }
        answers, took = {}, {}
        for kind, (method, path, options) in asked.items():
            began = time.monotonic()
            answers[kind] = client.request(method, path, timeout=60, **options).status_code
            took[kind] = round(time.monotonic() - began, 1)
        measured[f"cache_{how.replace(' ', '_')}_seconds"] = took
        assert set(answers.values()) == {200}
        assert max(took.values()) <= PATIENCE_SECONDS[how]

    def test_it_fills_up_again(self, client, parts):
        cache = parts["cache"]
        ask(cache, "FLUSHALL")

        def filled():
            read(client, HOME)
            return [key for key in ask(cache, "--scan") if key.startswith("cache:")]

        wait_until(filled, SECONDS, "something in the cache")


class TestEdges:
    def test_each_serves_pages_reads_and_posts(self, instance, edges, through):
        posted = []
        for edge in edges:
            page = edge.ask(f"/@{instance.owner['username']}", headers={"Accept": "text/html"})
            assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (200, "text/html")
            assert edge.ask("/api/v2/instance").json()["domain"] == instance.domain
            style = re.search(r'href="(?:https://[^"/]+)?(/packs/[^"]+)"', page.text)[1]
            assert edge.ask(style).status_code == 200
            posted.append(post(through(edge)))
        for edge in edges:
            wait_until(lambda edge=edge: {*posted} <= {*at_home(through(edge))}, SECONDS, "what came by all edges")

    def test_what_comes_by_one_streams_through_all(self, edges, through):
        for edge in edges:
            for other in edges:
                with through(other).listen() as listener:
                    listener.wait_for_status(post(through(edge)), SECONDS)

    def test_each_tells_puma_who_asks(self, instance, edges):
        """One Puma counts what an address asks for without a token, whichever edge it comes through."""
        own = f"{instance.web.address.rpartition('.')[0]}.1"

        def left(address):
            (answer,) = instance.ask(("GET", LIMITED, instance.proxied(X_Forwarded_For=address)))
            return int(answer.headers["x-ratelimit-remaining"])

        def counted(edge):
            before = [left(address) for address in (own, CLAIMED)]
            for _number in range(ASKED):
                assert edge.ask(LIMITED, headers={"X-Forwarded-For": CLAIMED}).status_code == 200
            return [was - left(address) - 1 for was, address in zip(before, (own, CLAIMED), strict=True)]

        for edge in edges:
            # A new period may begin meanwhile.
            wait_until(lambda edge=edge: counted(edge) == [ASKED, 0], SECONDS, f"{own} as who asks {edge.host.name}")

    def test_a_deleted_picture_has_no_copy_left_on_any(self, summary, instance, edges, through):
        """Who knows the secret, as Mastodon does, asks one edge to forget it, and that one tells the others."""
        buster = {instance.settings["CACHE_BUSTER_SECRET_HEADER"]: instance.settings["CACHE_BUSTER_SECRET"]}
        client = through(edges[0])
        media = client.upload(picture())
        status = client.post(f"A picture {uuid.uuid4()}", media_ids=[media["id"]])
        url = status["media_attachments"][0]["url"]
        sessions = [
            http_session(client.ca_file, dict.fromkeys(summary["resolve"], edge.host.address)) for edge in edges
        ]
        for session in sessions:
            assert [session.get(url, timeout=20).status_code for _number in range(2)] == [200, 200]
            assert session.get(url, timeout=20).headers["X-Cached"] == "HIT"
        client.api.status_delete(status["id"])

        def gone():
            return sessions[-1].get(url, headers=buster, timeout=20).status_code in (403, 404)

        wait_until(gone, 2 * SECONDS, "the end of a deleted picture")
        for session in sessions:
            wait_until(
                lambda session=session: session.get(url, timeout=20).status_code in (403, 404), SECONDS, "it all"
            )


class TestThePlanIsInForce:
    def test_connections_of_every_database(self, instance, plan_of):
        hosts = [*instance.hosts_of("postgres_primary"), *instance.hosts_of("postgres_replica")]
        planned = {host.name: str(plan_of(host.name)["postgres"]["settings"]["max_connections"]) for host in hosts}
        assert {host.name: host.sql("SHOW max_connections")[0] for host in hosts} == planned

    def test_memory_of_every_redis(self, parts, plan_of):
        for part, host in parts.items():
            settings = plan_of(host.name)["redis"]["settings"]
            memory = int(settings["maxmemory"].removesuffix("mb")) * 2**20
            assert ask(host, "CONFIG", "GET", "maxmemory") == ["maxmemory", str(memory)]
            policy = settings["maxmemory-policy"]
            assert ask(host, "CONFIG", "GET", "maxmemory-policy") == ["maxmemory-policy", policy]
            assert (policy == "noeviction") == (part != "cache")

    def test_each_pooler_serves_the_hosts_that_are_its_own(self, instance, plan_of, hosts_of):
        poolers = [Pooler(host) for host in hosts_of("pgbouncer")]
        clients = [host for host in instance.hosts.values() if {"web", "streaming", "sidekiq"} & {*host.groups}]
        names = {host.address: host.name for host in instance.hosts.values()}
        planned = {pooler.host.name: set() for pooler in poolers}
        for host in clients:
            planned[names[plan_of(host.name)["endpoints"]["database"]["host"]]].add(host.name)
        # With one of them no kind of host goes of which there are several.
        assert all(planned.values())
        assert [name for name, served in planned.items() if served >= {host.name for host in hosts_of("web")}] == []
        for host in hosts_of("web"):
            instance.ask(("GET", LIMITED, instance.proxied()), host=host)
        for pooler in poolers:
            found = {names[row["addr"]] for row in pooler.show("CLIENTS") if row["addr"] in names}
            # Who has nothing to do need not be connected.
            assert found <= planned[pooler.host.name]
            assert found & {host.name for host in hosts_of("web")}
