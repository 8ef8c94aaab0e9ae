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
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass
class LoopbackNetwork:
    """Each task has an address of 127.0.0.0/8: all on one machine, without delay."""

    regions: Sequence[str]
    _numbers: dict[str, Iterator[int]] = field(default_factory=dict)

    def take(self, region: str) -> Interface | None:
        """Return an interface with an address that no task had before."""
        number = next(self._numbers.setdefault(region, count(1)))
        return Interface(
            f"{region}#{number}", f"127.{16 + self.regions.index(region)}.{number // 250}.{number % 250 + 1}"
        )

    def give_back(self, interface: Interface) -> None:
        """Nothing is left of an interface."""

    def interfaces(self) -> Sequence[Interface]:
        """Loopback needs no listeners of its own."""
        return ()

    def bytes_across(self) -> dict[str, int]:
        """Nobody counts on loopback."""
        return {}


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
        yield LoopbackNetwork(list(interfaces))
        return
    names = [f"{region}#{i}" for region, number in interfaces.items() for i in range(number)]
    with Network(names, rtt_ms=rtt_ms, mbit=mbit) as network:
        yield NamespaceNetwork(network, names)


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
