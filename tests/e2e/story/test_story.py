# SPDX-License-Identifier: GPL-3.0-or-later
"""A person signs in and posts a picture; somebody else sees it at once, and it stays."""

from __future__ import annotations

import struct
import time
import zlib
from dataclasses import dataclass
from typing import Any

import pytest
from e2e.client import Client, Event, SignInError, sign_in
from e2e.instance import wait_until

DELIVERY_SECONDS = 2


def picture(width=64, height=48):
    """A PNG, all of one colour that nobody had before."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = struct.pack(">I", time.time_ns() & 0xFFFFFF)[1:]
    rows = (b"\0" + colour * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jobs_done(instance):
    """How many jobs Sidekiq has done, by its own count."""
    return int((instance.queues("GET", "stat:processed") or ["0"])[0] or 0)


@dataclass(frozen=True)
class Told:
    """What happened."""

    author: Client
    reader: Client
    media: dict[str, Any]
    status: dict[str, Any]
    posted: float
    event: Event
    jobs_before: int


@pytest.fixture(scope="module")
def told(instance):
    """The story up to the moment at which the status is there."""
    author, reader = instance.another_client(), instance.another_client()
    jobs_before = jobs_done(instance)
    with reader.listen() as listener:
        media = author.upload(picture(), description="one colour")
        posted = time.monotonic()
        status = author.post("A picture, for everybody.", media_ids=[media])
        event = listener.wait_for_status(status["id"], 20)
    return Told(author, reader, media, status, posted, event, jobs_before)


def test_a_wrong_password_is_refused(instance):
    with pytest.raises(SignInError, match="does not take the password"):
        sign_in(
            instance.summary["url"], instance.summary["ca_file"], instance.owner["email"], "wrong",
            instance.summary["resolve"],
        )  # fmt: skip


def test_the_status_is_the_authors_and_carries_the_picture(told, instance):
    assert told.status["account"]["username"] == instance.owner["username"]
    assert [item["id"] for item in told.status["media_attachments"]] == [told.media["id"]]


def test_the_second_client_receives_it_in_time(told):
    assert told.event.received - told.posted < DELIVERY_SECONDS
    assert told.event.payload["content"] == told.status["content"]


def test_the_job_was_done(told, instance):
    wait_until(lambda: jobs_done(instance) > told.jobs_before, 15, "a job more in Sidekiq's count")
    wait_until(lambda: instance.queues("LLEN", "queue:default") == ["0"], 15, "an empty queue")


def test_the_home_timeline_has_it(told):
    assert told.status["id"] in [status["id"] for status in told.reader.home()]


def test_the_public_timeline_has_it_for_strangers(told):
    stranger = Client(told.reader.url, told.reader.ca_file, None, told.reader.resolve)
    assert str(told.status["id"]) in [
        status["id"] for status in stranger.get("/api/v1/timelines/public?local=true").json()
    ]


def test_the_picture_is_served(told):
    answer = told.reader.session.get(told.status["media_attachments"][0]["url"], timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


def test_the_page_shows_it(told):
    answer = told.reader.session.get(told.status["url"], timeout=20)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_a_deleted_status_is_gone(told):
    with told.reader.listen() as listener:
        told.author.api.status_delete(told.status["id"])
        listener.wait_for(lambda event: event.event == "delete" and event.payload == str(told.status["id"]), 20)
    assert told.reader.get(f"/api/v1/statuses/{told.status['id']}").status_code == 404
