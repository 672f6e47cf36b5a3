# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx of a fleet: several web hosts behind it, media from a bucket, limits of rates, a CDN in front."""

from __future__ import annotations

import collections
import ipaddress
import json
import secrets
import threading
from urllib.parse import urlsplit

import pytest
import requests
from e2e.client import http_session
from e2e.edge import Edge
from e2e.instance import wait_until
from e2e.picture import picture

SECONDS = 60
PAGE = {"Accept": "text/html"}
PROGRAM = {"Accept": "application/activity+json"}


@pytest.fixture(scope="module")
def edge(summary, hosts_of):
    return Edge(summary, hosts_of("nginx")[0])


@pytest.fixture(scope="module")
def client(instance):
    return instance.client()


@pytest.fixture(scope="module")
def strangers(summary):
    """A session that is nobody's."""
    return http_session(summary["ca_file"], summary["resolve"])


class TestMedia:
    """H15: media come from a name of their own, under which nothing else is, and nothing in them runs."""

    @pytest.fixture
    def posted(self, client):
        """A status with a picture: its id, the picture, and its address."""
        sent = picture()
        media = client.upload(sent)
        status = client.post(f"A picture {secrets.token_hex(4)}", media_ids=[media["id"]])
        return status["id"], sent, status["media_attachments"][0]["url"]

    def test_are_served_once_fetched(self, posted, strangers, edge):
        _status, sent, url = posted
        assert urlsplit(url).scheme == "https"
        assert urlsplit(url).hostname != edge.domain
        answers = [strangers.get(url, timeout=20) for _number in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[1].headers["X-Cached"] == "HIT"
        headers = {name.lower(): value for name, value in answers[1].headers.items()}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["access-control-allow-origin"] == "*"
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        assert not [name for name in headers if name.startswith("x-amz-") or name == "set-cookie"]
        assert answers[1].content == answers[0].content
        assert answers[0].content.startswith(sent[:8])

    def test_pages_may_show_them(self, posted, edge):
        policy = edge.ask("/auth/sign_in").headers["Content-Security-Policy"]
        assert f"https://{urlsplit(posted[2]).hostname}" in policy

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    def test_are_only_read(self, posted, strangers, method):
        assert strangers.request(method, posted[2], data=b"x", timeout=20).status_code == 405

    @pytest.mark.parametrize("path", ["/", "/?list-type=2", "/media_attachments/"])
    def test_are_not_listed(self, posted, strangers, path):
        host = urlsplit(posted[2]).hostname
        assert strangers.get(f"https://{host}{path}", timeout=20).status_code == 404

    def test_have_no_copy_left_when_the_application_says_so(self, posted, strangers, client, instance):
        status, _sent, url = posted
        assert strangers.get(url, timeout=20).status_code == 200
        client.api.status_delete(status)
        lines = instance.web.output("cat", "/etc/mastodon/env.production").splitlines()
        environment = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
        assert strangers.get(url, headers={"X-Cache-Buster": "a guess"}, timeout=20).headers["X-Cached"] == "HIT"
        buster = {environment["CACHE_BUSTER_SECRET_HEADER"]: environment["CACHE_BUSTER_SECRET"].strip("'\"")}

        def gone():
            return strangers.get(url, headers=buster, timeout=20).status_code in (403, 404)

        wait_until(gone, SECONDS, "the end of a deleted picture")
        assert strangers.get(url, timeout=20).status_code in (403, 404)


class TestAWebHostDies:
    def test_no_post_is_made_twice(self, client, instance):
        """A request in flight may be lost, and then says so; it must never be sent to the next host."""
        mark, posts, answers = secrets.token_hex(6), 40, {}
        victim = instance.hosts_of("web")[-1]

        def post(number):
            data = {"status": f"{mark} {number}", "visibility": "private"}
            answers[number] = instance.client().request("POST", "/api/v1/statuses", data=data).status_code

        threads = [threading.Thread(target=post, args=(number,)) for number in range(posts)]
        try:
            for number, thread in enumerate(threads):
                thread.start()
                if number == posts // 3:
                    victim.shell("systemctl kill --signal KILL mastodon-web.service")
                threading.Event().wait(0.05)
        finally:
            for thread in threads:
                thread.join()
        found = collections.Counter(instance.sql(f"SELECT text FROM statuses WHERE text LIKE '{mark} %'"))
        assert set(found.values()) == {1}
        assert set(answers.values()) <= {200, 503}
        assert {f"{mark} {number}" for number, status in answers.items() if status == 200} <= set(found)


@pytest.fixture(scope="class")
def configure(run_site):
    """Run the role with other settings; afterwards it is as before."""

    def run(**settings):
        narrow = {"nginx_own_networks": ["127.0.0.0/8"], "nginx_fleet_addresses": {}, **settings}
        return run_site("--tags", "nginx", "-e", json.dumps(narrow))

    yield run
    run_site("--tags", "nginx")


@pytest.fixture(scope="class")
def limited(configure):
    configure(nginx_rate_limit_requests_per_second=1, nginx_rate_limit_burst_requests=5)


@pytest.fixture(scope="class")
def behind_a_cdn(configure, edge):
    """This machine is the CDN: in the fleet's network it has the first address."""
    network = ipaddress.ip_network(f"{edge.box['address']}/24", strict=False)
    configure(mastodon_cdn_enabled=True, mastodon_cdn_networks=[f"{network[1]}/32"])


@pytest.fixture(scope="class")
def past_a_cdn(configure):
    configure(mastodon_cdn_enabled=True, mastodon_cdn_networks=["192.0.2.0/24"])


class TestStrangers:
    """What nginx does with people from elsewhere; all of them come from one address of the fleet's own network here."""

    def test_who_asks_too_often_is_told_to_wait(self, limited, edge):
        answers = [edge.ask("/api/v1/instance") for _number in range(20)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert 5 <= len(refused) < 20
        assert all(int(answer.headers["Retry-After"]) > 0 and set(answer.json()) == {"error"} for answer in refused)
        page = next(answer for _number in range(10) if (answer := edge.ask("/about", headers=PAGE)).status_code == 429)
        assert page.text.rstrip().endswith("</html>")

    @pytest.mark.parametrize(
        ("path", "method"),
        [("/inbox", "POST"), ("/api/v1/streaming/health", "GET"), ("/robots.txt", "GET"), ("/health", "GET")],
    )
    def test_what_is_spared(self, limited, edge, path, method):
        """H6: a sender that is refused drops its delivery; files and streams cost nothing."""
        statuses = [edge.ask(path, method, data=b"{}" if method == "POST" else None) for _number in range(20)]
        assert 429 not in {answer.status_code for answer in statuses}

    def test_a_cdn_keeps_nothing_that_differs_by_reader(self, behind_a_cdn, edge):
        """H16: one address is a page or an actor, and a CDN that ignores Vary would give either to everybody."""
        for headers in (PAGE, PROGRAM):
            answer = edge.ask("/users/owner", headers=headers)
            assert answer.status_code in (200, 301, 302)
            assert "public" not in answer.headers.get("Cache-Control", "")
            assert answer.headers["CDN-Cache-Control"] == "no-store"
        assert "CDN-Cache-Control" not in edge.ask("/robots.txt").headers

    def test_clients_of_a_cdn_have_their_own_address(self, behind_a_cdn, edge):
        mark = secrets.token_hex(6)
        edge.ask(f"/about?{mark}", headers={"X-Forwarded-For": "192.0.2.66, 198.51.100.7"})

        def logged():
            log = edge.host.output("tail", "--lines", "50", "/var/log/nginx/access.log").splitlines()
            return [line.split()[0] for line in log if mark in line]

        assert wait_until(logged, SECONDS, "a line in the log") == ["198.51.100.7"]

    def test_nobody_comes_past_a_cdn(self, past_a_cdn, edge):
        with pytest.raises(requests.ConnectionError):
            edge.ask("/about")
