# SPDX-License-Identifier: GPL-3.0-or-later
"""A picture to post."""

from __future__ import annotations

import secrets
import struct
import zlib


def picture():
    """A small PNG that nobody had before."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + secrets.token_bytes(3)
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
