# SPDX-License-Identifier: GPL-3.0-or-later
"""The outside world of a rehearsal: a resolver that answers for its domains, a sink for mail, and object storage.

Names come from /etc/dnsmasq.conf, which fleet.py puts there. Mail to ports 25 and 587 is kept, one file
each, in the Maildir /var/mail/sink. Object storage (S3 on port 8333) runs where fleet.py put its program and
/etc/objects.json, which says who may do what in which bucket.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox

OBJECTS = Path("/etc/objects.json")
OBJECTS_PROGRAM = "/usr/local/bin/weed"
OBJECTS_FOLDER = Path("/var/lib/objects")


def start_objects() -> None:
    """Start the object storage; its bucket is there a few seconds later."""
    OBJECTS_FOLDER.mkdir(exist_ok=True)
    argv = [OBJECTS_PROGRAM, "server", f"-dir={OBJECTS_FOLDER}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    argv += ["-master.volumeSizeLimitMB=64", "-volume.max=200", "-s3", "-s3.port=8333", "-s3.ip.bind=0.0.0.0"]
    subprocess.Popen([*argv, f"-s3.config={OBJECTS}", "-master.telemetry=false"])
    bucket = json.loads(OBJECTS.read_text())["bucket"]
    threading.Thread(target=make_bucket, args=(bucket,), daemon=True).start()


def make_bucket(bucket: str) -> None:
    """Make a bucket, as soon as the storage takes orders."""
    while True:
        said = subprocess.run(
            [OBJECTS_PROGRAM, "shell", "-master=127.0.0.1:9333"],
            input=f"s3.bucket.create -name {bucket}\ns3.bucket.list\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        if any(line.split()[:1] == [bucket] for line in said.stdout.splitlines()):
            return
        time.sleep(1)


def main() -> int:
    """Run until told to stop, or until the resolver ends."""
    sink = Mailbox("/var/mail/sink")
    for port in (25, 587):
        Controller(sink, hostname="0.0.0.0", port=port).start()
    if OBJECTS.is_file():
        start_objects()
    resolver = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--log-facility=-"])
    signal.signal(signal.SIGTERM, lambda *_: resolver.terminate())
    return resolver.wait()


if __name__ == "__main__":
    sys.exit(main())
