# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client and a probe see of streaming."""

from __future__ import annotations

import re

import pytest
from e2e.client import Client
from e2e.instance import STREAMING_PORT, wait_until
from websocket import WebSocketBadStatusException


def test_health_and_metrics(instance):
    health, metrics = instance.ask(("GET", "/api/v1/streaming/health"), ("GET", "/metrics"), port=STREAMING_PORT)
    assert (health.status, health.body) == (200, "OK")
    assert metrics.status == 200
    names = set(re.findall(r"^# TYPE (\w+) ", metrics.body, re.MULTILINE))
    assert {
        "connected_clients",
        "pg_pool_total_connections",
        "pg_pool_idle_connections",
        "pg_pool_waiting_queries",
    } <= names
    assert any(name.startswith("redis_") for name in names)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_events_want_a_good_token(instance, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    (answer,) = instance.ask(("GET", "/api/v1/streaming/user", headers), port=STREAMING_PORT)
    assert answer.status == 401


@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_websocket_wants_a_good_token(client, token):
    stranger = Client(client.url, client.ca_file, token, client.resolve)
    with pytest.raises(WebSocketBadStatusException) as refused, stranger.listen():
        pass
    assert refused.value.status_code == 401
    assert {name.lower(): value for name, value in refused.value.resp_headers.items()}["x-error-message"]


def test_tells_the_application_who_listens(client, instance):
    account = client.api.me()["id"]
    with client.listen():
        wait_until(
            lambda: instance.redis("EXISTS", f"subscribed:timeline:{account}") == ["1"], 5, "the key of a listener"
        )
        assert 0 < int(instance.redis("TTL", f"subscribed:timeline:{account}")[0]) <= 1080
        subscribed = instance.redis("PUBSUB", "CHANNELS", "timeline:*")
    assert f"timeline:{account}" in subscribed


def test_public_statuses_reach_their_streams(client, tag):
    with client.listen("public:local") as local, client.listen("hashtag", tag=tag) as hashtag:
        status = client.post(f"#{tag}")
        assert local.wait_for_status(status["id"], 10).stream == ["public:local"]
        assert hashtag.wait_for_status(status["id"], 10).stream == ["hashtag", tag]
    client.api.status_delete(status["id"])


def test_a_direct_status_stays_off_the_public_ones(client, tag):
    with client.listen("public") as everyone, client.listen() as mine:
        status = client.post(tag, visibility="direct")
        mine.wait_for_status(status["id"], 10)
        assert [event for event in everyone.events if tag in str(event.payload)] == []
    client.api.status_delete(status["id"])


def test_a_revoked_token_ends_its_connections(instance):
    leaving = instance.another_client()
    with leaving.listen() as listener:
        instance.sql(f"UPDATE oauth_access_tokens SET revoked_at = now() WHERE token = '{leaving.token}'")
        (number,) = instance.sql(f"SELECT id FROM oauth_access_tokens WHERE token = '{leaving.token}'")
        instance.redis("PUBLISH", f"timeline:access_token:{number}", '{"event":"kill"}')
        wait_until(lambda: listener.closed, 10, "the end of the connection")
    assert leaving.get("/api/v1/accounts/verify_credentials").status_code == 401
