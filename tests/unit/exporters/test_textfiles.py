# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that write files for the node exporter, run as their timers run them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
from collection_tree import ROOT
from unit.plugins.modules.test_sidekiq_state import NOW, OTHER, PASSWORD, PlayedRedis

FILES = ROOT / "roles/exporters/files"
ONE = "worker1:4530:50a5df3c9087"
LINE = re.compile(r'^(\w+)(?:\{(\w+)="((?:[^"\\]|\\.)*)"\})? ([0-9.e+]+)$')


@pytest.fixture
def package(tmp_path):
    """The folder on the host, as the role lays it out."""
    folder = tmp_path / "library/fediops_sidekiq"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name in ("redis_client.py", "sidekiq.py"):
        shutil.copy(ROOT / "plugins/module_utils" / name, folder / name)
    shutil.copy(FILES / "sidekiq_metrics.py", folder / "__main__.py")
    return folder.parent


@pytest.fixture
def redis():
    played = PlayedRedis()
    yield played
    played.listening.close()


@pytest.fixture
def tell(package, redis, tmp_path):
    """Run it; returns how it ended, what it said, and the numbers by name and label."""
    target = tmp_path / "fediops_sidekiq.prom"

    def tell(**changes):
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "REDIS_PORT": str(redis.port)}
        environment |= {"REDIS_PASSWORD": PASSWORD, **changes}
        argv = [sys.executable, "-m", "fediops_sidekiq", str(target)]
        ended = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        return ended.returncode, ended.stderr, numbers(target)

    return tell


def numbers(target):
    if not target.exists():
        return None
    assert target.stat().st_mode & 0o777 == 0o644
    lines = [line for line in target.read_text().splitlines() if not line.startswith("#")]
    found = [LINE.match(line).groups() for line in lines]
    return {
        (name.removeprefix("fediops_"), *([label] if label else [])): float(value) for name, _key, label, value in found
    }


def process(queues, *, busy, quiet="false"):
    info = {"hostname": "worker1", "queues": queues, "concurrency": 5, "started_at": NOW}
    return {"info": json.dumps(info), "busy": str(busy), "quiet": quiet, "beat": str(NOW)}


def test_all_queues_have_numbers_whether_or_not_somebody_listens(tell, redis):
    redis.keys = {
        "queues": ["push", 'a "new" one'],
        "queue:push": [json.dumps({"enqueued_at": NOW - 1}), json.dumps({"enqueued_at": NOW - 90})],
        "processes": [ONE, OTHER],
        ONE: process(["default", "push"], busy=3),
        OTHER: process(["push", "pull"], busy=0, quiet="true"),
        "retry": [1, 2],
        "dead": [1],
        "schedule": [1, 2, 3],
        "stat:processed": "120",
        "stat:failed": "4",
    }
    code, said, found = tell()
    assert (code, said) == (0, "")
    sizes = {label[0]: value for (name, *label), value in found.items() if name == "sidekiq_queue_size"}
    seven = {"default", "push", "ingress", "mailers", "pull", "scheduler", "fasp"}
    assert set(sizes) == {*seven, 'a \\"new\\" one'}
    assert sizes["push"] == 2
    assert found["sidekiq_queue_latency_seconds", "push"] == 90
    # One that is quiet takes no jobs.
    assert found["sidekiq_queue_consumers", "push"] == 1
    assert found["sidekiq_queue_consumers", "pull"] == 0
    assert found["sidekiq_queue_consumers", "scheduler"] == 0
    once = ("processes", "threads", "busy_threads", "retries", "scheduled", "dead", "processed_total", "failed_total")
    assert [found[(f"sidekiq_{name}",)] for name in once] == [2, 10, 3, 2, 3, 1, 120, 4]
    assert abs(found[("sidekiq_state_seconds",)] - time.time()) < 60


@pytest.mark.parametrize("wrong", [{"REDIS_PASSWORD": "another"}, {"REDIS_PORT": "1"}], ids=["not let in", "not there"])
def test_numbers_that_nobody_knows_vanish(tell, wrong):
    assert tell()[2] is not None
    code, said, found = tell(**wrong)
    assert (code, found) == (1, None)
    assert "Redis at 127.0.0.1" in said


def test_until_when_certificates_are_valid(tmp_path):
    certificate, spoiled = tmp_path / "fullchain.pem", tmp_path / "spoiled.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "30",
    ]
    argv += ["-subj", "/CN=social.example", "-keyout", str(tmp_path / "key"), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    spoiled.write_text("no certificate")
    target = tmp_path / "fediops_certificates.prom"
    paths = [str(spoiled), str(tmp_path / "absent.pem"), str(certificate)]
    subprocess.run(["sh", str(FILES / "certificates.sh"), str(target), *paths], check=True, capture_output=True)
    ((name, label, path, value),) = [
        LINE.match(line).groups() for line in target.read_text().splitlines() if not line.startswith("#")
    ]
    assert (name, label, path) == ("fediops_certificate_expires_seconds", "path", str(certificate))
    left = datetime.fromtimestamp(float(value), UTC) - datetime.now(UTC)
    assert 29 * 86400 < left.total_seconds() <= 30 * 86400
    assert [path.name for path in tmp_path.glob("*.prom*")] == [target.name]
