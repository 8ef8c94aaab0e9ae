"""A wide-area network on one machine: network namespaces joined by a process that delays, shapes and counts packets.

Each Region is a network namespace with one TUN device. This process holds the other ends: it reads each packet, counts it
for its ordered pair of Regions, holds it back for the pair's delay, lets it through at the pair's rate, and writes it to
the device of its destination. Namespaces live as long as this process; when it ends, however it ends, they are gone.

Started by `benchmarks.wan.network`, as root. It says on standard output, in JSON, where the Regions are, and answers each
line of standard input with the bytes so far; when that closes, it ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

MTU = 8500
_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Link:
    """One direction between two Regions: packets on their way, each with the time at which it arrives."""

    delay: float
    seconds_per_byte: float
    device: int
    on_the_way: deque[tuple[float, bytes]] = field(default_factory=deque)
    free_at: float = 0.0
    count: int = 0
    down: bool = False
    shut: bool = False

    def take(self, packet: bytes, now: float) -> None:
        """Put a packet on its way; it leaves after those before it."""
        if self.down or (self.shut and _opens_connection(packet)):
            return
        self.count += len(packet)
        self.free_at = max(now, self.free_at) + len(packet) * self.seconds_per_byte
        self.on_the_way.append((self.free_at + self.delay, packet))

    def deliver(self, now: float) -> None:
        """Hand over what has arrived."""
        while self.on_the_way and self.on_the_way[0][0] <= now:
            os.write(self.device, self.on_the_way.popleft()[1])


def _opens_connection(packet: bytes) -> bool:
    """Whether an IPv4 packet asks for a new TCP connection: SYN without ACK."""
    header = 4 * (packet[0] & 0x0F)
    return packet[9] == socket.IPPROTO_TCP and packet[header + 13] & 0x12 == 0x02


def address_of(index: int) -> str:
    """Address of a Region by its number."""
    return f"10.77.{index + 1}.1"


def region_of(name: str) -> str:
    """Region of a machine: its name up to a number sign."""
    return name.partition("#")[0]


def namespace(index: int, here: socket.socket) -> int:
    """Fork a process that holds a namespace with a TUN device and sends the device; its process id."""
    pid = os.fork()
    if pid:
        return pid
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if _libc.unshare(_CLONE_NEWNET):
        os._exit(3)
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"wan", _IFF_TUN | _IFF_NO_PI))
    for words in (
        "link set lo up",
        f"address add {address_of(index)}/32 dev wan",
        f"link set wan mtu {MTU} up",
        "route add 10.77.0.0/16 dev wan",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    for name in ("rmem", "wmem"):
        # a window for 80 ms at hundreds of Mbit/s
        Path(f"/proc/sys/net/ipv4/tcp_{name}").write_text("4096 4194304 33554432")
    socket.send_fds(here, [b"x"], [device])
    signal.pause()
    os._exit(0)


def main(regions: list[str], rtt_ms: float, mbit: float) -> None:
    """Serve until standard input closes."""
    parent_end, child_end = socket.socketpair()
    devices, holders = [], []
    for i in range(len(regions)):
        holders.append(namespace(i, child_end))
        _, fds, _, _ = socket.recv_fds(parent_end, 1, 1)
        devices.append(fds[0])
    links = {
        (a, b): Link(0.0, 0.0, devices[b])
        if region_of(regions[a]) == region_of(regions[b])
        else Link(rtt_ms / 2000, 8 / (mbit * 1e6), devices[b])
        for a in range(len(regions))
        for b in range(len(regions))
        if a != b
    }
    print(json.dumps({r: {"pid": holders[i], "address": address_of(i)} for i, r in enumerate(regions)}), flush=True)
    try:
        _serve(regions, devices, links)
    finally:
        for pid in holders:
            os.kill(pid, signal.SIGKILL)


def _serve(regions: list[str], devices: list[int], links: dict[tuple[int, int], Link]) -> None:
    poll = select.epoll()
    number = {device: i for i, device in enumerate(devices)}
    for device in devices:
        os.set_blocking(device, False)
        poll.register(device, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLIN | select.EPOLLHUP)
    while True:
        due = min((link.on_the_way[0][0] for link in links.values() if link.on_the_way), default=None)
        for device, _ in poll.poll(-1 if due is None else max(0.0, due - monotonic())):
            if device in number:
                _read(device, number[device], links)
            elif not _answer(regions, links):
                return
        now = monotonic()
        for link in links.values():
            link.deliver(now)


def _read(device: int, source: int, links: dict[tuple[int, int], Link]) -> None:
    for _ in range(64):  # then others have their turn
        try:
            packet = os.read(device, MTU + 100)
        except BlockingIOError:
            return
        if packet[0] >> 4 == 4 and packet[16:18] == b"\x0a\x4d":
            link = links.get((source, packet[18] - 1))
            if link is not None:
                link.take(packet, monotonic())


def _answer(regions: list[str], links: dict[tuple[int, int], Link]) -> bool:
    """Answer one line: "count"; "cut REGION" and "restore REGION" for a Region that nothing reaches, or two that do not
    reach each other; "shut A B" and "open A B" for a firewall that lets no new connection from A to B.
    """
    words = sys.stdin.readline().split()
    if not words:
        return False
    if words[0] in ("cut", "restore"):
        chosen = {regions.index(name) for name in words[1:]}
        for pair, link in links.items():
            if chosen <= set(pair):
                link.down = words[0] == "cut"
    if words[0] in ("shut", "open"):
        src, dst = (regions.index(name) for name in words[1:])
        links[src, dst].shut = words[0] == "shut"
    print(json.dumps({f"{regions[a]}->{regions[b]}": link.count for (a, b), link in links.items()}), flush=True)
    return True


if __name__ == "__main__":
    main(sys.argv[3:], float(sys.argv[1]), float(sys.argv[2]))
