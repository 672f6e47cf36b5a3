# SPDX-License-Identifier: GPL-3.0-or-later
"""One module a component: sizes in, a dataclass of the model and the reasons of its numbers out."""
