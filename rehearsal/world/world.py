# SPDX-License-Identifier: GPL-3.0-or-later
"""The outside world of a rehearsal: a resolver that answers for its domains, and a sink for mail.

Names come from /etc/dnsmasq.conf, which fleet.py puts there. Mail to ports 25 and 587 is kept, one file
each, in the Maildir /var/mail/sink.
"""

from __future__ import annotations

import signal
import subprocess
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Mailbox


def main() -> int:
    """Run until told to stop, or until the resolver ends."""
    sink = Mailbox("/var/mail/sink")
    for port in (25, 587):
        Controller(sink, hostname="0.0.0.0", port=port).start()
    resolver = subprocess.Popen(["dnsmasq", "--keep-in-foreground", "--log-facility=-"])
    signal.signal(signal.SIGTERM, lambda *_: resolver.terminate())
    return resolver.wait()


if __name__ == "__main__":
    sys.exit(main())
