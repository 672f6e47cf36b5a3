# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx, asked from outside: whom it answers, in what way, and what it keeps to itself."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import time

import pytest
import requests
from e2e.edge import Edge

HSTS = "max-age=63072000; includeSubDomains"
PAGE = "/auth/sign_in"


@pytest.fixture(scope="module")
def edge(summary, host):
    return Edge(summary, host)


@pytest.fixture(scope="module")
def asset(edge):
    """A script or style sheet that a page refers to."""
    return re.search(r'(?:src|href)="(/packs/[^"]+\.(?:js|css))"', edge.ask(PAGE).text)[1]


@pytest.fixture
def media(edge, host):
    """A file that somebody uploaded, which would like to be a page."""
    host.check_output("printf '<script>alert(1)</script>' > /var/lib/mastodon/system/e2e.html")
    yield "/system/e2e.html"
    host.check_output("rm /var/lib/mastodon/system/e2e.html")


class TestTLS:
    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_speaks(self, edge, version):
        one = ssl.TLSVersion[version]
        with edge.handshake(edge.domain, maximum_version=one, minimum_version=one) as connection:
            assert connection.version() == version.replace("_", ".")

    @pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
    def test_refuses_older_ones(self, edge):
        old = ssl.TLSVersion.TLSv1_1
        # It is the other side that says no, not this one.
        with pytest.raises(ssl.SSLError, match=r"(?i)alert protocol version"):
            edge.handshake(edge.domain, minimum_version=old, maximum_version=old)

    def test_speaks_http_2(self, edge):
        with edge.handshake(edge.domain) as connection:
            assert connection.selected_alpn_protocol() == "h2"

    def test_certificate_is_that_of_the_domain(self, edge):
        # The session trusts nothing but the fleet's own authority.
        assert edge.ask("/api/v2/instance").status_code == 200

    def test_key_is_for_root_alone(self, host):
        key = host.file("/etc/ssl/mastodon/privkey.pem")
        assert (key.user, key.group, key.mode) == ("root", "root", 0o600)


class TestNames:
    def test_unknown_name_gets_no_certificate(self, edge):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            edge.handshake("somebody.else.example")

    def test_unknown_name_gets_no_page(self, edge):
        with socket.create_connection((edge.box["address"], 80), timeout=10) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: somebody.else.example\r\n\r\n")
            assert connection.recv(1024) == b""

    def test_plain_http_leads_to_tls(self, edge):
        answer = requests.get(
            f"http://{edge.box['address']}/@owner?page=2",
            headers={"Host": edge.domain}, allow_redirects=False, timeout=10,
        )  # fmt: skip
        assert answer.status_code == 301
        assert answer.headers["Location"] == f"https://{edge.domain}/@owner?page=2"

    @pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Forwarded-For", "Client-Ip", "Forwarded"])
    def test_client_cannot_say_who_it_is_or_whom_it_asks(self, edge, header):
        assert edge.ask(PAGE, headers={header: "192.0.2.66"}).status_code == 200


class TestHeaders:
    @pytest.mark.parametrize("path", [PAGE, "/api/v2/instance", "/api/v1/streaming/health", "/nothing/here", "/sw.js"])
    def test_hsts_is_said_once(self, edge, path):
        assert edge.ask(path).headers["Strict-Transport-Security"] == HSTS

    def test_hashed_files_never_change(self, edge, asset):
        answer = edge.ask(asset)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=2419200, immutable"

    def test_service_worker_is_always_asked_for(self, edge):
        answer = edge.ask("/sw.js")
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-cache"

    def test_uploads_are_never_run(self, edge, media):
        answer = edge.ask(media)
        assert answer.status_code == 200
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert "immutable" in answer.headers["Cache-Control"]

    def test_missing_upload_is_not_kept_in_caches(self, edge):
        answer = edge.ask("/system/nothing.png")
        assert answer.status_code == 404
        assert "Cache-Control" not in answer.headers

    def test_says_no_version(self, edge):
        assert edge.ask("/system/nothing.png").headers["Server"] == "nginx"


class TestLimits:
    def test_upload_within_the_limit(self, edge, plan):
        assert edge.announce("/api/v2/media", plan["nginx"]["client_max_body_size_mb"] - 1) == ""

    def test_upload_beyond_it(self, edge, plan):
        answer = edge.announce("/api/v2/media", plan["nginx"]["client_max_body_size_mb"] + 1)
        assert answer.startswith("HTTP/1.1 413 ")

    def test_worker_processes(self, host, plan):
        workers = host.check_output("pgrep --count --full '^nginx: worker process$'")
        assert int(workers) == plan["nginx"]["worker_processes"]

    def test_open_files(self, host, plan):
        allowed = host.check_output("systemctl show --property LimitNOFILE --value nginx.service")
        assert int(allowed) == plan["nginx"]["limit_nofile"]


class TestWhatIsKept:
    def test_metrics_of_streaming_are_not_for_the_world(self, edge, host):
        fetch = (
            "import urllib.request as request; print(request.urlopen('http://127.0.0.1:4000/metrics').read().decode())"
        )
        inside = host.check_output("python3 -c %s", fetch)
        assert "connected_clients" in inside
        for path in ("/metrics", "/api/v1/streaming/metrics", "/api/v1/streaming/../../../metrics"):
            assert "connected_clients" not in edge.ask(path).text

    @pytest.mark.parametrize("unit", [None, "mastodon-streaming@*.service"], ids=["whole", "without streaming"])
    def test_no_log_has_a_token(self, edge, host, unit):
        token, mark = secrets.token_hex(16), secrets.token_hex(8)

        def visit():
            edge.ask(f"/api/v1/streaming/{mark}?access_token={token}")
            edge.ask("/", headers={"Referer": f"{edge.url}/{mark}?reset_password_token={token}"})

        if unit:
            with edge.without(unit):
                visit()
        else:
            visit()
        time.sleep(0.5)
        assert host.run(f"grep -rh {mark} /var/log/nginx").stdout.count("?[masked]") == 2
        assert host.run(f"grep -rhc {token} /var/log/nginx/access.log").stdout.strip() == "0"
        assert host.run(f"grep -rhc {token} /var/log/nginx/error.log").stdout.strip() == "0"

    def test_request_is_found_in_both_logs(self, edge, host):
        request_id = edge.ask(PAGE).headers["X-Request-Id"]
        time.sleep(0.5)
        assert host.run(f"grep -c {request_id} /var/log/nginx/access.log").stdout.strip() == "1"
        assert request_id in host.check_output("journalctl --unit mastodon-web.service --since -1min --output cat")


class TestConfiguration:
    def test_a_mistake_changes_nothing(self, edge, host, run_site):
        before = host.check_output("cat /etc/nginx/nginx.conf /etc/nginx/*/mastodon*.conf | sha256sum")
        run = run_site("--tags", "nginx", "-e", '{"nginx_hsts": "oops\\"; nonsense on; #"}', check=False)
        assert run.status != 0
        assert 'unknown directive "nonsense"' in run.output.replace('\\"', '"')
        assert host.check_output("cat /etc/nginx/nginx.conf /etc/nginx/*/mastodon*.conf | sha256sum") == before
        assert edge.answers()


class TestCertificate:
    def test_is_renewed_in_time(self, edge, host, run_site):
        def serial():
            with edge.handshake(edge.domain) as connection:
                return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))

        key = host.file("/etc/ssl/mastodon/privkey.pem").sha256sum
        # A life of 20 days leaves less than a third of 90.
        host.check_output("rm /etc/ssl/mastodon/fullchain.pem")
        run_site("--tags", "certificates,nginx", "-e", '{"certificates_own_ca_days": 20}')
        short = serial()
        run_site("--tags", "certificates,nginx")
        assert serial() != short
        days = "openssl x509 -in /etc/ssl/mastodon/fullchain.pem -noout -checkend"
        assert host.run(f"{days} {89 * 86400}").rc == 0
        assert host.file("/etc/ssl/mastodon/privkey.pem").sha256sum == key
