# SPDX-License-Identifier: GPL-3.0-or-later
"""What a proxy, a probe or a cache sees of the web processes. Asked on the host itself, as nginx does."""

from __future__ import annotations

import json
import re
import secrets

import pytest

HTML = {"Accept": "text/html"}
ACTIVITY = {"Accept": "application/activity+json"}


@pytest.fixture(scope="module")
def get(instance):
    """Ask Puma for a path as a proxy would."""

    def ask(path, **headers):
        (answer,) = instance.ask(("GET", path, instance.proxied(**headers)))
        return answer

    return ask


@pytest.fixture(scope="module")
def owner(instance):
    return instance.owner["username"]


def directives(answer):
    return set(re.split(r",\s*", answer.headers["cache-control"]))


class TestHealth:
    def test_answers_any_host_over_plain_http(self, instance):
        (answer,) = instance.ask(("GET", "/health", {"Host": "10.1.2.3"}))
        assert (answer.status, answer.body) == (200, "OK")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "strict-transport-security" not in answer.headers

    def test_is_not_logged(self, instance):
        mark = f"/health?{secrets.token_hex(8)}"
        page = f"/auth/sign_in?{secrets.token_hex(8)}"
        instance.ask(("GET", mark, {"Host": "localhost"}), ("GET", page, instance.proxied()))
        log = instance.web.output(
            "journalctl", "--unit", "mastodon-web.service", "--lines", "50", "--output", "cat", "--no-pager"
        )
        assert re.search(r"\[[\w-]+\] method=GET path=/auth/sign_in .*status=200 .*duration=.* db=", log)
        assert "path=/health" not in log


class TestWhoMayAsk:
    def test_another_host_is_refused(self, instance):
        (answer,) = instance.ask(("GET", "/about", instance.proxied(Host="elsewhere.example")))
        assert answer.status == 403

    def test_plain_http_is_sent_to_https(self, instance):
        (answer,) = instance.ask(("GET", "/auth/sign_in", {"Host": instance.domain}))
        assert answer.status == 301
        assert answer.headers["location"] == f"https://{instance.domain}/auth/sign_in"


class TestHeaders:
    def test_of_every_page(self, get, instance):
        answer = get("/auth/sign_in")
        assert answer.status == 200
        assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"
        assert directives(answer) == {"private", "no-store"}
        assert re.fullmatch(r"[\w-]{20,}", answer.headers["x-request-id"])
        assert float(answer.headers["x-runtime"]) > 0

    def test_the_policy_names_where_media_come_from(self, get, instance):
        policy = dict(
            part.split(" ", 1)
            for part in get("/auth/sign_in").headers["content-security-policy"].split("; ")
            if " " in part
        )
        media = instance.settings.get("S3_ALIAS_HOST") or instance.domain
        assert f"https://{media}" in policy["img-src"].split()

    def test_a_profile_may_be_cached_for_seconds(self, get, owner):
        answer = get(f"/@{owner}", **HTML)
        assert answer.status == 200
        assert {"max-age=15", "public"} <= directives(answer)
        assert any(item.startswith("stale-while-revalidate=") for item in directives(answer))

    def test_an_actor_may_be_cached_for_minutes(self, get, owner):
        answer = get(f"/users/{owner}", **ACTIVITY)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("application/activity+json")
        assert {"max-age=180", "public"} <= directives(answer)
        assert {"accept", "accept-language", "cookie"} <= set(re.split(r",\s*", answer.headers["vary"].lower()))
        assert json.loads(answer.body)["preferredUsername"] == owner

    def test_not_for_somebody_with_a_cookie(self, get, owner):
        assert directives(get(f"/@{owner}", Cookie="a=b", **HTML)) == {"private", "no-store"}


class TestApi:
    @pytest.mark.parametrize("version", [1, 2])
    def test_the_instance_describes_itself(self, get, instance, version):
        answer = get(f"/api/v{version}/instance")
        assert answer.status == 200
        described = json.loads(answer.body)
        assert described["uri" if version == 1 else "domain"] == instance.domain
        urls = described["urls"]["streaming_api"] if version == 1 else described["configuration"]["urls"]["streaming"]
        assert urls.startswith("wss://")

    @pytest.mark.parametrize("token", [None, "wrong"])
    @pytest.mark.parametrize(
        "path", ["/api/v1/timelines/home", "/api/v1/notifications", "/api/v1/accounts/verify_credentials"]
    )
    def test_personal_paths_want_a_good_token(self, get, path, token):
        answer = get(path, **({"Authorization": f"Bearer {token}"} if token else {}))
        assert answer.status == 401
        assert json.loads(answer.body)["error"]

    def test_what_is_not_there_is_404_in_json(self, get):
        answer = get("/api/v1/statuses/4611686018427387904")
        assert answer.status == 404
        assert json.loads(answer.body)["error"]

    def test_a_delivery_without_a_signature_is_401(self, instance):
        headers = instance.proxied(Content_Type="application/activity+json")
        body = json.dumps({"type": "Follow", "actor": "https://elsewhere.example/users/a"})
        answers = instance.ask(
            *(("POST", path, headers, body) for path in ("/inbox", f"/users/{instance.owner['username']}/inbox"))
        )
        assert [answer.status for answer in answers] == [401, 401]

    def test_posting_twice_with_one_key_posts_once(self, client, instance, tag):
        first = client.post(tag, idempotency_key=tag, visibility="direct")
        # What the second one is told has differed between versions of Mastodon; that it adds nothing has not.
        headers = {"Idempotency-Key": tag}
        client.request("POST", "/api/v1/statuses", json={"status": tag, "visibility": "direct"}, headers=headers)
        assert instance.sql(f"SELECT count(*) FROM statuses WHERE text = '{tag}'") == ["1"]
        client.api.status_delete(first["id"])

    def test_what_is_no_picture_is_refused(self, client):
        answer = client.request("POST", "/api/v2/media", files={"file": ("a.png", b"no picture", "image/png")})
        assert answer.status_code == 422
        assert answer.json()["error"]


class TestLimits:
    """Each test comes from an address of its own, as a proxy would pass it on."""

    LIMIT = 300

    def drained(self, ask, limit, attempts):
        """Ask until refused; a new period may begin meanwhile, so there are attempts for two."""
        for answer in ask(attempts):
            if answer.status == 429:
                assert answer.headers["x-ratelimit-limit"] == str(limit)
                assert answer.headers["x-ratelimit-remaining"] == "0"
                assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", answer.headers["x-ratelimit-reset"])
                assert json.loads(answer.body)["error"]
                return
        pytest.fail(f"{attempts} requests and no 429")

    def test_an_address_without_a_token(self, instance):
        network = f"2001:db8:{secrets.randbelow(65536):x}:{secrets.randbelow(65536):x}"

        def ask(times, host="1"):
            request = (
                "GET",
                "/api/v1/accounts/verify_credentials",
                instance.proxied(X_Forwarded_For=f"{network}::{host}"),
            )
            return instance.ask(*[request] * times)

        self.drained(ask, self.LIMIT, 2 * self.LIMIT + 2)
        assert ask(1, host="2")[0].status == 429, "the whole /64 is one address"

    def test_what_is_left_is_told(self, get):
        address = f"198.51.100.{secrets.randbelow(250) + 1}"
        headers = get("/api/v1/timelines/public", X_Forwarded_For=address).headers
        assert int(headers["x-ratelimit-limit"]) == self.LIMIT
        assert int(headers["x-ratelimit-remaining"]) < self.LIMIT

    def test_sign_in(self, instance):
        address = f"203.0.113.{secrets.randbelow(250) + 1}"
        request = ("POST", "/auth/sign_in", instance.proxied(X_Forwarded_For=address), "")
        assert 429 in [answer.status for answer in instance.ask(*[request] * 52)]


class TestFiles:
    def test_what_a_page_asks_for_is_served(self, client):
        page = client.session.get(client.url, timeout=20).text
        paths = set(re.findall(r'(?:src|href)="(?:https://[^"/]+)?(/packs/[^"]+)"', page))
        assert paths
        for path in paths:
            answer = client.session.get(client.url + path, timeout=20)
            assert answer.status_code == 200, path

    def test_the_service_worker_keeps_its_name(self, client):
        assert client.session.get(f"{client.url}/sw.js", timeout=20).status_code == 200

    def test_the_error_page_needs_no_application(self, instance):
        assert "<html" in instance.web.output("cat", "/opt/mastodon/current/public/500.html").lower()
