# SPDX-License-Identifier: GPL-3.0-or-later
"""Who talks to whom: the firewall, pg_hba, binds and the picture of a fleet come from here."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Fleet, Flow, HostPlan


def flows(fleet: Fleet, hosts: Mapping[str, HostPlan]) -> tuple[Flow, ...]:
    """Every connection between two different hosts, and from the world and the control machine."""
    return ()
