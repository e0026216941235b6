"""What is asked of the peers."""

from dataclasses import dataclass, field
from pathlib import Path

TRAFFIC = Path(__file__).resolve().parent / "traffic"

PROXIES = ("nginx", "haproxy", "caddy", "pingora", "weir")


@dataclass
class Workload:
    """One comparison: a request or a mix, sent to some of the peers over some numbers of connections."""

    key: str
    title: str
    # The first peer is what the others are compared with.
    peers: tuple
    # Arguments of `weir-loadgen compare`.
    arguments: list
    path: str = "/"
    front: str = "PLAIN"
    connections: tuple = (64, 512)
    # A peer that needs milliseconds for a request needs long slices, and has few of them in a quick run.
    slow: bool = False
    # What a reader of the table must know.
    notes: list = field(default_factory=list)


def header(name, value):
    return ["--header", f"{name}: {value}"]


ALL = [
    Workload("get-1k", "GET, 1 KiB answer", PROXIES, header("User-Agent", "bench")),
    Workload(
        "post-4k",
        "POST, 4 KiB of JSON",
        (*PROXIES, "weir inspecting"),
        ["--body-file", str(TRAFFIC / "order.json"), *header("Content-Type", "application/json")],
        notes=["`weir inspecting` looks at all 241 values of the body; the others only forward it."],
    ),
    Workload("get-64k", "GET, 64 KiB answer", PROXIES, header("User-Agent", "bench"), path="/?size=64KiB"),
    Workload(
        "new-connections",
        "GET, 1 KiB answer, a new connection for each request",
        PROXIES,
        ["--new-connections"],
    ),
    Workload(
        "tls-front",
        "GET, 1 KiB answer, TLS 1.3 from the client",
        PROXIES,
        ["--scenario", str(TRAFFIC / "tls.toml"), "--ca", "@RUN@/ca.pem"],
        front="TLS",
    ),
    Workload(
        "mtls-origin",
        "GET, 1 KiB answer, mutual TLS 1.3 to the origin",
        PROXIES,
        header("User-Agent", "bench"),
        path="/mtls",
        front="MTLS",
    ),
    Workload(
        "waf-none",
        "A browser's traffic, inspected by one of three",
        ("nginx", "weir", "weir inspecting"),
        ["--scenario", str(TRAFFIC / "browser.toml")],
        notes=["nginx and `weir` only forward here; `weir inspecting` looks at each request, and blocks attacks."],
    ),
    Workload(
        "waf-clean",
        "A browser's traffic, inspected by both",
        ("nginx+modsecurity", "weir inspecting"),
        ["--scenario", str(TRAFFIC / "browser.toml"), "--timeout", "30s"],
        slow=True,
    ),
    Workload(
        "waf-attacks",
        "A browser's traffic with 5 % attacks, blocked by both",
        ("nginx+modsecurity", "weir inspecting"),
        ["--scenario", str(TRAFFIC / "attacks.toml"), "--timeout", "30s", "--parity", "status"],
        slow=True,
        # traffic/attacks.toml expects it of each label, and a peer that does otherwise is refused.
        notes=["The parity check has seen both block each kind of attack, and let each kind of clean request pass."],
    ),
]
