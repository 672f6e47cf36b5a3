# SPDX-License-Identifier: GPL-3.0-or-later
"""How a community is silenced at its edge, and that it is not: inboxes that refuse, gates that lie."""

from __future__ import annotations

import json
import time

import pytest
from e2e.edge import WEB, Edge

PROGRAMS = [
    "/api/v1/instance",
    "/api/v2/instance",
    "/api/v1/timelines/home",
    "/api/v1/streaming/user",
    "/inbox",
    "/users/owner/inbox",
]
PEOPLE = ["/", "/@owner", "/auth/sign_in", "/settings/profile", "/packs/none.js"]
OTHERS = [
    "/users/owner",
    "/.well-known/webfinger?resource=acct:owner@x",
    "/nodeinfo/2.0",
    "/oauth/token",
    "/health",
    "/media_proxy/1/original",
]
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
GATE = ["--tags", "gate", "-e", '{"gate_full": true, "gate_timeout_seconds": 15}']


@pytest.fixture(scope="module")
def edge(summary, host):
    return Edge(summary, host)


def assert_away(answer):
    assert answer.status_code == 503, f"{answer.request.method} {answer.request.url}: {answer.status_code}"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.elapsed.total_seconds() < 1


def assert_all_away(edge):
    """Every path of the application says the same, each in the form that its readers understand."""
    for method in ("GET", "POST", "PUT", "DELETE"):
        for path in PROGRAMS:
            answer = edge.ask(path, method, data=None if method == "GET" else b"{}")
            assert_away(answer)
            assert set(answer.json()) == {"error"}
        for path in PEOPLE + OTHERS:
            answer = edge.ask(path, method, headers=BROWSER)
            assert_away(answer)
            assert answer.text.rstrip().endswith("</html>")
    actor = edge.ask("/users/owner", headers={"Accept": "application/activity+json"})
    assert_away(actor)
    assert set(actor.json()) == {"error"}


class TestInboxes:
    """H6: a 4xx makes other instances drop a delivery for good; 503 makes them send it again."""

    def test_application_away(self, edge):
        # It was asked a moment ago: no copy of an answer takes its place.
        for path in PEOPLE + OTHERS:
            edge.ask(path)
        with edge.without(*WEB, "mastodon-streaming@*.service"):
            assert_all_away(edge)
            assert edge.ask("/robots.txt").status_code == 200

    def test_streaming_away(self, edge):
        with edge.without("mastodon-streaming@*.service"):
            assert_away(edge.ask("/api/v1/streaming/user"))
            assert edge.ask("/api/v2/instance").status_code == 200

    def test_maintenance_by_hand(self, edge, host):
        host.check_output("touch /etc/nginx/maintenance")
        try:
            assert_all_away(edge)
        finally:
            host.check_output("rm /etc/nginx/maintenance")
        assert edge.answers()

    @pytest.mark.parametrize("path", ["/inbox", "/users/owner/inbox", "/ap/users/1/inbox", "/actor/inbox"])
    def test_delivery_too_large(self, edge, plan, path):
        head = edge.announce(path, plan["nginx"]["client_max_body_size_mb"] + 1)
        assert head.startswith("HTTP/1.1 503 ")
        assert "\r\nRetry-After: " in head

    def test_delivery_with_long_headers(self, edge):
        with edge.without(*WEB):
            assert_away(edge.ask("/inbox", "POST", data=b"{}", headers={"Signature": "s" * 20_000}))

    def test_errors_of_the_application_are_its_own(self, edge):
        missing = edge.ask("/api/v1/nothing")
        assert missing.status_code == 404
        assert "error" in missing.json()
        assert "Retry-After" not in missing.headers

    def test_nothing_limits_their_rate(self, edge):
        # More than any limit of nginx would let through at once; what the application says of them is its own business.
        delivery = {"data": b"{}", "headers": {"Content-Type": "application/activity+json"}}
        answers = [edge.ask("/inbox", "POST", **delivery) for _number in range(60)]
        assert all(answer.headers.get("X-Request-Id") for answer in answers)


class TestGate:
    """H11: the application's own /health stays green while people can neither post nor read."""

    @pytest.mark.parametrize(
        ("stopped", "part"),
        [
            ("redis-server.service", "web"),
            ("mastodon-sidekiq@*.service", "sidekiq"),
            ("mastodon-streaming@*.service", "streaming"),
        ],
    )
    def test_fails_though_health_is_green(self, edge, run_site, stopped, part):
        with edge.without(stopped):
            assert edge.ask("/health").status_code == 200
            run = run_site(*GATE, check=False)
        assert run.status != 0
        assert f"the part `{part}` that failed" in run.output

    def test_passes_when_all_is_well_and_leaves_nothing(self, host, run_site, summary):
        def count(table, condition):
            query = f"SELECT count(*) FROM {table} WHERE {condition}"
            return int(host.check_output(f'runuser -u postgres -- psql -XAtqc "{query}" mastodon_production'))

        begin = int(time.time())
        tokens = count("oauth_access_tokens", "true")
        run = run_site(*GATE, "-vvv")
        assert run.changed == []
        assert "delivered to every stream, and deleted" in run.output
        assert count("oauth_access_tokens", "true") == tokens
        assert count("oauth_access_tokens", "expires_in = 900") == 0
        condition = f"visibility = 3 AND created_at >= to_timestamp({begin}) AT TIME ZONE 'UTC'"
        # Mastodon keeps a deleted status for a while, marked as such.
        marks = count("information_schema.columns", "table_name = 'statuses' AND column_name = 'deleted_at'")
        assert count("statuses", condition + (" AND deleted_at IS NULL" if marks else "")) == 0
        assert json.dumps(summary["token"]) not in run.output

    def test_refuses_to_pass_without_an_account(self, run_site):
        run = run_site(*GATE, "-e", '{"gate_username": "nobody_is_called_so"}', check=False)
        assert run.status != 0
        assert "has no account `nobody_is_called_so`" in run.output
