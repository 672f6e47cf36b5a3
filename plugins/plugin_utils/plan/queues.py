# SPDX-License-Identifier: GPL-3.0-or-later
"""Sidekiq's queues: the seven of Mastodon, Sidekiq's notation, and the split over several processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from .coefficients import Coefficients

# app/workers and config/sidekiq.yml of Mastodon v4.6.5.
QUEUES = ("default", "push", "ingress", "mailers", "pull", "scheduler", "fasp")
# Their jobs wait for other servers; those of default and ingress compute.
WAITING = frozenset({"push", "pull"})


@dataclass(frozen=True, kw_only=True)
class Slot:
    """What one Sidekiq process serves."""

    name: str
    queues: tuple[str, ...]


_ALL = Slot(name="all", queues=("default,8", "push,6", "ingress,4", "mailers,2", "pull,1", "scheduler,1", "fasp,1"))
_CORE = Slot(name="core", queues=("default,8", "mailers,2", "scheduler,1"))
_FEDERATION = Slot(name="federation", queues=("push,6", "ingress,4", "pull,2", "fasp,1", "default,1"))
_MIXED = Slot(name="mixed", queues=("default,8", "push,6", "ingress,4", "pull,1"))
_SCHEDULER = Slot(name="scheduler", queues=("scheduler,2", "mailers,1", "fasp,1"))
_DEFAULT = Slot(name="default", queues=("default,8", "mailers,1"))
_INGRESS_PULL = Slot(name="ingress_pull", queues=("ingress,6", "pull,2", "fasp,1"))
_INGRESS = Slot(name="ingress", queues=("ingress,4", "default,1"))
_PUSH = Slot(name="push", queues=("push,4", "default,1"))
_PULL = Slot(name="pull", queues=("pull,4", "fasp,1"))
_REPEATED = (_DEFAULT, _INGRESS, _PUSH, _INGRESS, _DEFAULT, _PULL)
_SPLITS = {
    1: (_ALL,),
    2: (_CORE, _FEDERATION),
    3: (_CORE, _FEDERATION, _MIXED),
    4: (_SCHEDULER, _DEFAULT, _INGRESS_PULL, _PUSH),
    5: (_SCHEDULER, _DEFAULT, _INGRESS, _PUSH, _PULL),
}


def split(total: int, *, scheduler: bool = True) -> list[Slot]:
    """What each of `total` processes of a fleet serves; `scheduler` is in the first and nowhere else.

    Few processes share all queues by weight, many specialise; from six on the busy ones repeat. Every
    process that can lists `default` at weight 1, so that nothing idles while people wait. scheduler False leaves
    that queue out, because a list by hand serves it.
    """
    if total == 0:
        return []
    slots = list(_SPLITS[min(total, 5)])
    slots += [_REPEATED[index % len(_REPEATED)] for index in range(total - 5)]
    if not scheduler:
        slots[0] = _without_scheduler(slots[0])
    return slots


def _without_scheduler(slot: Slot) -> Slot:
    queues = tuple(entry for entry in slot.queues if queue_name(entry) != "scheduler")
    return Slot(name=_name_of(queues) if slot.name == "scheduler" else slot.name, queues=queues)


def _all_slots() -> Iterator[Slot]:
    for slots in (*_SPLITS.values(), _REPEATED):
        yield from (_without_scheduler(slots[0]), *slots)


def share_out(
    processes: Mapping[str, int], served: Mapping[str, Sequence[tuple[str, ...]]], *, scheduler: bool = True
) -> dict[str, list[Slot]]:
    """What each process of the fleet serves, by host: what it served already, where all queues are served like that.

    processes: how many each host has, the host of `scheduler` first. served: the queues of each process of a host until
    now, in their order; only those of a split count, since a list by hand goes with who made it. A process that has
    nothing to keep gets what the fleet lacks most of the split; one whose queues others serve too moves only
    where a queue would be left without anybody. scheduler False leaves that queue out, as in `split`.
    """
    fresh = split(sum(processes.values()), scheduler=scheduler)
    owners = [name for name, count in processes.items() for dummy in range(count)]
    kept = [slot for name, count in processes.items() for slot in _kept(served.get(name, ()), count, scheduler)]
    while any(kept):
        filled = _filled(kept, fresh)
        if _served(fresh) == _served(filled) and _runs_once(filled):
            return {name: _own(name, owners, filled) for name in processes}
        spare = _spare(kept)
        if spare is None:
            break
        kept[spare] = None
    return {name: _own(name, owners, fresh) for name in processes}


def _own(name: str, owners: Sequence[str], slots: Sequence[Slot]) -> list[Slot]:
    """The slots of one host, with names made unique among them."""
    return numbered(slot for owner, slot in zip(owners, slots, strict=True) if owner == name)


def _kept(served: Sequence[tuple[str, ...]], count: int, scheduler: bool) -> list[Slot | None]:
    """What `count` processes of a host keep of what they served, None for those that have nothing to keep."""
    slots = [_NAMED.get(queues) for queues in served[:count]]
    known = [slot if slot is None or scheduler else _without_scheduler(slot) for slot in slots]
    return known + [None] * (count - len(known))


def _filled(kept: Sequence[Slot | None], fresh: Sequence[Slot]) -> list[Slot]:
    """The slots kept, and in the gaps those of the fresh split of which the fleet has the least."""
    left = Counter(slot.queues for slot in fresh) - Counter(slot.queues for slot in kept if slot)
    lacks = _capacity(fresh)
    lacks.subtract(_capacity(slot for slot in kept if slot))
    missing = _served(fresh) - _served(slot for slot in kept if slot)
    filled = []
    for slot in kept:
        if slot is None:
            fitting = [queues for queues in left if "scheduler" in missing or not serves_scheduler(queues)]
            chosen = max(fitting or left, key=lambda queues: (len(missing & _names(queues)), _gain(queues, lacks)))
            left = left - Counter([chosen])
            lacks.subtract(_shares(chosen))
            missing -= _names(chosen)
            slot = _NAMED[chosen]
        filled.append(slot)
    return filled


def _gain(queues: tuple[str, ...], lacks: Mapping[str, float]) -> float:
    """How much of what the fleet lacks a process with these queues brings."""
    return round(sum(min(share, max(0.0, lacks[queue])) for queue, share in _shares(queues).items()), 6)


def _shares(queues: tuple[str, ...]) -> Counter[str]:
    """The part of a process that each of its queues has, by weight."""
    total = sum(queue_weight(entry) for entry in queues)
    return Counter({queue_name(entry): queue_weight(entry) / total for entry in queues})


def _capacity(slots: Iterable[Slot]) -> Counter[str]:
    """How many processes each queue has, in parts of them."""
    found: Counter[str] = Counter()
    for slot in slots:
        found.update(_shares(slot.queues))
    return found


def _names(queues: Iterable[str]) -> set[str]:
    return {queue_name(entry) for entry in queues}


def _served(slots: Iterable[Slot]) -> set[str]:
    return {queue for slot in slots for queue in _names(slot.queues)}


def _runs_once(slots: Iterable[Slot]) -> bool:
    """True if not more than one of the slots serves `scheduler`."""
    return sum(serves_scheduler(slot.queues) for slot in slots) <= 1


def _spare(kept: Sequence[Slot | None]) -> int | None:
    """The last slot of which others serve every queue; None where there is none."""
    counts = Counter(queue for slot in kept if slot for queue in _names(slot.queues))
    spare = (
        index for index, slot in enumerate(kept) if slot and all(counts[queue] > 1 for queue in _names(slot.queues))
    )
    return max(spare, default=None)


def slots_of(lists: tuple[tuple[str, ...], ...], processes: int) -> list[Slot]:
    """What each process serves where a person named the queues of a host.

    One list is served by all processes, but `scheduler` by the first only: it must run once in a fleet.
    """
    if len(lists) == 1:
        copies = tuple(entry for entry in lists[0] if queue_name(entry) != "scheduler")
        lists = (lists[0], *(copies for dummy in range(processes - 1)))
    return numbered([Slot(name=_name_of(entries), queues=entries) for entries in lists if entries])


def queue_name(entry: str) -> str:
    """The queue of an entry in Sidekiq's notation: `push` of `push,4`."""
    return entry.partition(",")[0]


def queue_weight(entry: str) -> int:
    """The weight of an entry in Sidekiq's notation: 4 of `push,4`, 1 of `push`."""
    return int(entry.partition(",")[2] or 1)


def serves_scheduler(queues: Iterable[str]) -> bool:
    """True if a process with these queues pushes the cron jobs."""
    return "scheduler" in _names(queues)


def check_entry(entry: object) -> str | None:
    """What is wrong with one entry of `sidekiq_queues`, in words that say what to type; None if nothing is."""
    if not isinstance(entry, str):
        return f'{entry!r} is not a queue; type a name, or a name with a weight in quotes: "push,4"'
    name, comma, weight = entry.partition(",")
    if name not in QUEUES:
        near = get_close_matches(name.strip().lower(), QUEUES, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return f"{entry!r} names no queue of Mastodon; {hint}allowed: {', '.join(QUEUES)}"
    if comma and not (weight.isascii() and weight.isdigit() and 1 <= int(weight) <= 100):
        return f'the weight of {entry!r} is not a whole number from 1 to 100; type for example "{name},4"'
    return None


def target_threads(queues: tuple[str, ...], c: Coefficients) -> int:
    """Threads that a process can use, by how much of its work waits for other servers."""
    total = sum(queue_weight(entry) for entry in queues)
    waiting = sum(queue_weight(entry) for entry in queues if queue_name(entry) in WAITING)
    if waiting * 2 >= total:
        return c.sidekiq_threads_waiting
    return c.sidekiq_threads_mixed if waiting else c.sidekiq_threads_computing


def _name_of(entries: tuple[str, ...]) -> str:
    names = [queue_name(entry) for entry in entries]
    return "all" if set(names) == set(QUEUES) else "_".join(names)


def numbered(slots: Iterable[Slot]) -> list[Slot]:
    """The processes of one host with names made unique: default, default_2, ... Those of other hosts do not count."""
    seen: Counter[str] = Counter()
    out = []
    for slot in slots:
        seen[slot.name] += 1
        number = seen[slot.name]
        out.append(slot if number == 1 else Slot(name=f"{slot.name}_{number}", queues=slot.queues))
    return out


# Every slot of a split, by what it serves.
_NAMED = {slot.queues: slot for slot in _all_slots()}
