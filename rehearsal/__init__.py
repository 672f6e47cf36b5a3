# SPDX-License-Identifier: GPL-3.0-or-later
"""Rehearsals: any inventory, in containers of this machine."""
