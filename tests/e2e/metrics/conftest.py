# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics host of a fleet, which gets one where it has none; and an overview page, of one that is played or not."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import pytest
import yaml
from ansible_collections.fediops.mastodon.plugins.plugin_utils import dashboards
from e2e.fleet import CHECKOUT
from e2e.growth import Growth
from e2e.load import Load
from e2e.plan.browser import browser
from e2e.starts import starts

from .front import Prometheus, front

WATCH = {"watch1": {"groups": ["metrics"], "vcpus": 1, "memory_mb": 1024}}
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
def arrived(deployed, instance, tmp_path_factory):
    """What was seen when the fleet got a host that watches, as a person adds one; None where it had one."""
    if instance.hosts_of("metrics"):
        return None
    growth, before = Growth(deployed, tmp_path_factory.mktemp("metrics")), starts(instance)
    growth.add(WATCH)
    with Load(instance) as load:
        deployed.site()
    watched = growth.instance()
    return {"load": load, "instance": watched, "before": before, "after": starts(watched)}


@pytest.fixture(scope="session")
def watched(arrived, instance):
    """The instance with its metrics host."""
    return arrived["instance"] if arrived else instance


@pytest.fixture(scope="session")
def watch(watched):
    """The metrics host."""
    return watched.host_of("metrics")


@pytest.fixture(scope="session")
def whole_plan(watched, deployed):
    """The plan of the fleet with its metrics host."""
    return json.loads((deployed.state / "plan.json").read_text())


@pytest.fixture(scope="session")
def plan_of(whole_plan):
    """The plan of a host, by its name."""
    return whole_plan["hosts"].__getitem__


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
