# SPDX-License-Identifier: GPL-3.0-or-later
"""The overview page, of a metrics host that is played or of a real one.

With METRICS_ADDRESS (and METRICS_LOGIN=name:password) in the environment, the tests that break nothing look at that
host, and every query of the dashboards is asked of its Prometheus.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
import yaml
from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from e2e.fleet import CHECKOUT
from e2e.plan.browser import browser

from .front import Prometheus, front

LOGIN = ("admin", "a password: of a test")
SOURCE = yaml.safe_load((CHECKOUT / "roles/metrics/vars/dashboards.yml").read_text(encoding="utf-8"))[
    "metrics_dashboards"
]


@dataclass(frozen=True)
class MetricsHost:
    """Where the page is, and who may see it."""

    address: str
    login: tuple[str, str]

    def with_login(self) -> str:
        """The address as a browser takes it, name and password in it."""
        scheme, rest = self.address.split("://", 1)
        name, password = (urllib.request.quote(part, safe="") for part in self.login)
        return f"{scheme}://{name}:{password}@{rest}"

    def ask(self, what: str, **parameters: str) -> dict:
        """The data of an answer of Prometheus, through the front."""
        request = urllib.request.Request(f"{self.address}prometheus/api/v1/{what}?{urlencode(parameters)}")
        request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self.login).encode()).decode())
        # Its certificate is often one of its own, as that of a rehearsal is.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
        )
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)["data"]


@pytest.fixture(scope="session")
def tab(tmp_path_factory):
    """A page of Chromium."""
    with browser(tmp_path_factory.mktemp("profile"), "--ignore-certificate-errors") as opened:
        yield opened


@pytest.fixture
def prometheus():
    """The Prometheus that is played."""
    return Prometheus(SOURCE)


@pytest.fixture
def played(prometheus):
    """A metrics host that is played."""
    with front(dashboards.overview_page(SOURCE, "social.example"), prometheus.answer, LOGIN) as address:
        yield MetricsHost(address, LOGIN)


@pytest.fixture
def live():
    """A real metrics host."""
    if not (address := os.environ.get("METRICS_ADDRESS")):
        pytest.skip("needs a metrics host: METRICS_ADDRESS=https://… METRICS_LOGIN=name:password")
    name, _colon, password = os.environ["METRICS_LOGIN"].partition(":")
    return MetricsHost(address.rstrip("/") + "/", (name, password))


@pytest.fixture
def metrics_host(request):
    """A real metrics host if one is named, else one that is played."""
    return request.getfixturevalue("live" if os.environ.get("METRICS_ADDRESS") else "played")


@pytest.fixture
def show(tab) -> Callable:
    """Open a view of a metrics host in a window of some size; every panel that is seen has its answer then."""

    def opened(host: MetricsHost, view: str = "overview/1h", size: tuple[int, int] = (1280, 900), script: str = ""):
        if script:
            number = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        # Else the browser would take another hash for the same page.
        tab.visit("about:blank")
        tab.complaints.clear()
        tab.requests.clear()
        tab.size(*size)
        tab.prefer("light")
        tab.visit(f"{host.with_login()}#{view}")
        tab.wait("document.querySelectorAll('.panel').length > 0", "the dashboard is shown")
        settled(tab)
        if script:
            tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=number)
        return tab

    return opened


def settled(tab) -> None:
    """Wait until every panel in the window, and the alerts, have been answered."""
    tab.wait(
        """document.getElementById('alerts').textContent !== '' && [...document.querySelectorAll('.panel')]
            .filter((each) => each.getBoundingClientRect().top < innerHeight)
            .every((each) => !each.querySelector('.body').textContent.startsWith('Loading'))""",
        "panels and alerts are answered",
    )
