# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the control machine that only their owner may read."""

from __future__ import annotations

import os
import tempfile


def write_private(path: str, text: str) -> None:
    """Write a file of mode 0600 all at once: a reader sees the old content or the new, never a part.

    Raises OSError. A symbolic link is followed, so that a file kept elsewhere stays where it is kept.
    """
    target = os.path.realpath(path)
    directory = os.path.dirname(target)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{os.path.basename(target)}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
