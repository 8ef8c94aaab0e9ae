"""Network interfaces of tasks: a network namespace each where root allows it, else an address of loopback each.

Belongs here: interfaces, and sockets that listen inside of namespaces. Does not belong here: the wide-area network itself
(benchmarks.wan), what runs in a namespace (agent).
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import count
from threading import Lock, Thread
from typing import Protocol

from benchmarks.wan.network import Network, lacking

_CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Interface:
    """The network interface of one task.

    Attributes
    ----------
    name
        Region, and a number among its interfaces.
    address
        IPv4 address.
    words
        Words before a command that make it run there.
    pid
        A process in its namespace; None on loopback.
    """

    name: str
    address: str
    words: tuple[str, ...] = ()
    pid: int | None = None

    @property
    def region(self) -> str:
        """Region of the interface."""
        return self.name.partition("#")[0]


class TaskNetwork(Protocol):
    """Where interfaces come from."""

    def take(self, region: str) -> Interface | None:
        """Return a free interface of a Region, or None if there is none now."""

    def give_back(self, interface: Interface) -> None:
        """Let another task have an interface; none gets the address at once that another one had."""

    def interfaces(self) -> Sequence[Interface]:
        """Return all interfaces that need listeners of their own."""

    def bytes_across(self) -> dict[str, int]:
        """Return bytes by pair of Regions, as ``"src->dst"``, packet headers included; empty on loopback."""


class LoopbackNetwork:
    """Each task has an address of 127.0.0.0/8: all on one machine, without delay.

    Rehearsals that run at the same time have blocks of addresses of their own.

    Parameters
    ----------
    regions
        Of the deployment.

    Raises
    ------
    RuntimeError
        All blocks are taken.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        self._regions, self._numbers = list(regions), dict[str, Iterator[int]]()
        self._taken, self._first = _take_block()

    @property
    def database(self) -> str:
        """An address that no task gets."""
        return f"127.{self._first + _BLOCK - 1}.0.1"

    def take(self, region: str) -> Interface | None:
        """Return an interface with an address that no task had before."""
        number = next(self._numbers.setdefault(region, count(1)))
        second = self._first + self._regions.index(region)
        return Interface(f"{region}#{number}", f"127.{second}.{number // 250}.{number % 250 + 1}")

    def give_back(self, interface: Interface) -> None:
        """Nothing is left of an interface."""

    def interfaces(self) -> Sequence[Interface]:
        """Loopback needs no listeners of its own."""
        return ()

    def bytes_across(self) -> dict[str, int]:
        """Nobody counts on loopback."""
        return {}

    def close(self) -> None:
        """Let another rehearsal have the addresses."""
        self._taken.close()


#: Second digits of addresses: a client and six worker Regions, and one for servers.
_BLOCK, _BLOCKS = 8, range(16, 248, 8)


def _take_block() -> tuple[socket.socket, int]:
    """Return the first digits of a block that no other rehearsal of this machine has, and what holds the block.

    A name of the kernel holds it: it is free again when its process has ended, however that ended.
    """
    for first in _BLOCKS:
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0xdask-rehearsal-127.{first}")
        except OSError:
            holder.close()
            continue
        return holder, first
    raise RuntimeError(
        f"{len(_BLOCKS)} rehearsals without network namespaces run on this machine, and have all addresses. Wait for the "
        "end of one, or run as root, with namespaces."
    )


class NamespaceNetwork:
    """Each task has a network namespace; a relay delays, shapes and counts the packets between Regions.

    Parameters
    ----------
    network
        Of namespaces named by Region and number.
    names
        Names of all namespaces.
    """

    def __init__(self, network: Network, names: Sequence[str]) -> None:
        self._network, self._lock = network, Lock()
        self._free = [
            Interface(name, network.address(name), tuple(network.inside(name)), network.process(name)) for name in names
        ]
        self._all = tuple(self._free)

    def take(self, region: str) -> Interface | None:
        """Return the interface that was free for the longest time."""
        with self._lock:
            for each in self._free:
                if each.region == region:
                    self._free.remove(each)
                    return each
        return None

    def give_back(self, interface: Interface) -> None:
        """Put an interface at the end of those that are free."""
        with self._lock:
            self._free.append(interface)

    def interfaces(self) -> Sequence[Interface]:
        """All namespaces."""
        return self._all

    @contextmanager
    def road_closed(self, source: str, target: str) -> Iterator[None]:
        """Drop all packets from a Region to another one, as without a route."""
        pairs = [(a.name, b.name) for a in self._all for b in self._all if (a.region, b.region) == (source, target)]
        try:
            for pair in pairs:
                self._network.tell(f"shut {' '.join(pair)}")
            yield
        finally:
            for pair in pairs:
                self._network.tell(f"open {' '.join(pair)}")

    @contextmanager
    def port_closed(self, interface: Interface, port: int, source: str) -> Iterator[None]:
        """Drop what a port of an interface answers to a Region, as without a rule of its security group."""
        rules = [f"from all to {each.address} ipproto tcp sport {port} blackhole priority {100 + i}"
                 for i, each in enumerate(self._all) if each.region == source]  # fmt: skip

        def change(what: str, rule: str) -> None:
            subprocess.run([*interface.words, "ip", "rule", what, *rule.split()], check=True)

        for rule in rules:
            change("add", rule)
        try:
            yield
        finally:
            for rule in rules:
                change("del", rule)

    def bytes_across(self) -> dict[str, int]:
        """Sum the relay's counts by pair of Regions; within a Region they are left out."""
        found: Counter[str] = Counter()
        for pair, size in self._network.tell().items():
            source, target = (name.partition("#")[0] for name in pair.split("->"))
            if source != target:
                found[f"{source}->{target}"] += size
        return dict(found)


@contextmanager
def task_network(interfaces: Mapping[str, int], rtt_ms: float = 80.0, mbit: float = 200.0) -> Iterator[TaskNetwork]:
    """Give tasks a network, of namespaces if this machine allows them.

    Parameters
    ----------
    interfaces
        How many namespaces each Region gets.
    rtt_ms, mbit
        Round-trip time and rate between Regions.
    """
    if lacking():
        with closing(LoopbackNetwork(list(interfaces))) as network:
            yield network
        return
    names = [f"{region}#{i}" for region, number in interfaces.items() for i in range(number)]
    with Network(names, rtt_ms=rtt_ms, mbit=mbit) as wide:
        yield NamespaceNetwork(wide, names)


def listening_in(interface: Interface, port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1 of an interface's namespace; a socket stays where it was made."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # Of a thread alone, which ends with this function: the rest of the process stays where it is.
        try:
            space = os.open(f"/proc/{interface.pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(space, _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(space)
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", port))
            one.listen(128)
            made.append(one)
        except OSError as error:
            made.append(error)

    thread = Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]
