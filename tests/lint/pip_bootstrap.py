# SPDX-License-Identifier: GPL-3.0-or-later
"""Let ansible-test set up its environments where the address of its pip bootstrap script cannot be reached.

ansible-test fills its environments with a script that it downloads from a site of its own. Where only a package index
can be reached (behind a company's mirror, in an isolated CI) that fails, although the wheel of the very same pip is in
the index. This puts a stand-in for the script, and that wheel, where ansible-test looks before it downloads.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import ansible_test
from ansible_test._internal import python_requirements

ANSWER_SECONDS = 10
STAND_IN = '''"""Stand-in for the pip bootstrap script of ansible-test: runs pip out of the wheel beside it."""
import os
import runpy
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), {wheel!r}))
# pip alone is wanted: the other two options belong to the script that this stands for.
sys.argv = ["pip", "install"] + [arg for arg in sys.argv[1:] if arg not in ("--no-setuptools", "--no-wheel")]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
'''


def wanted_pip_version() -> str:
    """Return the version of pip that this ansible-test insists on for the running Python."""
    python = SimpleNamespace(version=f"{sys.version_info.major}.{sys.version_info.minor}")
    return python_requirements.get_venv_packages(python)["pip"]


def bootstrap_url(pip_version: str) -> str:
    """Return the address from which this ansible-test downloads its bootstrap script.

    Raises LookupError where ansible-test no longer has one, which means that this file has outlived its use.
    """
    (package_path,) = ansible_test.__path__
    source = (Path(package_path) / "_util/target/setup/requirements.py").read_text(encoding="utf-8")
    match = re.search(r"url = '(https://[^']+%s[^']+)' % pip_version", source)
    if match is None:
        raise LookupError("ansible-test names no address of a pip bootstrap script: tests/lint/pip_bootstrap.py can go")
    return match.group(1) % pip_version


def answers(url: str) -> bool:
    """Say whether the address can be read from here."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS):
            return True
    except (urllib.error.URLError, OSError):
        return False


def main() -> None:
    """Put the stand-in in place, unless the script is there already or can be downloaded."""
    version = wanted_pip_version()
    cache = Path("~/.ansible/test/cache").expanduser()
    script = cache / f"get_pip_{version.replace('.', '_')}.py"
    if script.exists() or answers(bootstrap_url(version)):
        return
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--dest",
            str(cache),
            f"pip=={version}",
        ],
        check=True,
    )
    script.write_text(STAND_IN.format(wheel=f"pip-{version}-py3-none-any.whl"), encoding="utf-8")


if __name__ == "__main__":
    main()
