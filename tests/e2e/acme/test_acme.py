# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate from an ACME authority: Debian's pebble, on the box itself, which looks all names up there."""

from __future__ import annotations

import json

import pytest
from e2e.edge import Edge
from e2e.instance import wait_until

AUTHORITY = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get install --yes --quiet --quiet pebble openssl >/dev/null
mkdir -p /run/pebble
cd /run/pebble
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost 2>/dev/null
cp cert.pem /usr/local/share/ca-certificates/pebble.crt
update-ca-certificates >/dev/null 2>&1
printf '%s' "$1" > config.json
systemd-run --quiet --unit pebble-names pebble-challtestsrv -defaultIPv4 127.0.0.1 -defaultIPv6 '' \
  -dns01 127.0.0.1:8053 -http01 '' -https01 '' -tlsalpn01 '' -doh '' -management 127.0.0.1:8055
# By itself pebble refuses one good nonce of twenty; certbot, which tries again once, then gives up in one run of forty.
systemd-run --quiet --unit pebble --setenv PEBBLE_VA_NOSLEEP=1 --setenv PEBBLE_WFE_NONCEREJECT=0 \
  pebble -config /run/pebble/config.json -dnsserver 127.0.0.1:8053
"""
NO_AUTHORITY = """
systemctl stop pebble pebble-names
rm -rf /run/pebble /usr/local/share/ca-certificates/pebble.crt /etc/letsencrypt
update-ca-certificates --fresh >/dev/null 2>&1
"""
CONFIG = {
    "pebble": {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/run/pebble/cert.pem",
        "privateKey": "/run/pebble/key.pem",
        "httpPort": 80,
        "tlsPort": 443,
        "certificateValidityPeriod": 7776000,
        "retryAfter": {"authz": 1, "order": 1},
    }
}
DIRECTORY = "https://localhost:14000/dir"
ISSUER = "openssl x509 -in /etc/ssl/mastodon/fullchain.pem -noout -issuer -serial"


@pytest.fixture(scope="module")
def edge(summary, host):
    return Edge(summary, host)


@pytest.fixture(scope="module")
def run_with(run_site, host):
    """Run site.yml with ACME; afterwards the box has the certificate of its own authority again."""
    host.check_output("sh -c %s sh %s", AUTHORITY, json.dumps(CONFIG))
    fetch = f"import urllib.request as request; request.urlopen('{DIRECTORY}')"
    wait_until(lambda: host.run("python3 -c %s", fetch).rc == 0, 30, "pebble")

    def run(directory=DIRECTORY, check=True):
        variables = {"certificates_source": "acme", "certificates_acme_directory": directory}
        return run_site("--tags", "base,certificates,nginx,gate", "-e", json.dumps(variables), check=check)

    yield run
    host.check_output("sh -c %s", NO_AUTHORITY)
    host.check_output("rm /etc/ssl/mastodon/fullchain.pem")
    run_site("--tags", "certificates,nginx")


def served(edge, host):
    """Issuer and serial number of what nginx shows."""
    shown = f"openssl s_client -connect 127.0.0.1:443 -servername {edge.domain} </dev/null 2>/dev/null"
    return host.check_output(f"{shown} | openssl x509 -noout -issuer -serial")


def test_refusal_says_what_to_look_at(run_with):
    run = run_with(directory=DIRECTORY + "/nothing", check=False)
    assert run.status != 0
    assert all(word in run.output for word in ("DNS", "Port 80", "letsencrypt.log"))


@pytest.mark.usefixtures("run_with")
def test_site_is_up_all_the_same(edge):
    assert edge.answers()


def test_certificate_is_obtained_and_shown(run_with, edge, host):
    run_with()
    assert "Pebble" in host.check_output(ISSUER)
    assert served(edge, host) == host.check_output(ISSUER)


def test_second_run_changes_nothing(run_with):
    assert run_with().changed == []


@pytest.mark.usefixtures("run_with")
def test_renewal_reaches_nginx(edge, host):
    before = served(edge, host)
    host.check_output("certbot renew --force-renewal --no-random-sleep-on-renew --quiet")
    assert wait_until(lambda: served(edge, host) != before, 30, "another certificate")
    assert served(edge, host) == host.check_output(ISSUER)


@pytest.mark.usefixtures("run_with")
def test_renewal_is_waited_for(host):
    assert host.service("certbot.timer").is_enabled
    assert host.service("certbot.timer").is_running
