#!/usr/bin/env python3
"""Measures what slow clients cost others at a Weir node on this machine, and fails if they cost too much.

    make bench-slow

A node with one worker and its defaults stands before an origin. For slow heads, slow bodies and slow readers,
`weir-loadgen slow` has ordinary requests in slices with and without a thousand such clients, in turn, and compares the
medians of the slices' 99th percentiles. docs/limits.md says what came of it.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "peers"))

import peers  # noqa: E402
from run import free_port, wait_for_port  # noqa: E402

RELEASE = HERE.parent / "target/release"
# What slow readers take a little of at a time; they would come to the end of something small.
LARGE = "?size=10000000"
CONFIG = """
[node]
workers = 1

[[listener]]
name = "front"
address = "127.0.0.1:{front}"

[[server]]
name = "site"
hosts = ["site.example"]
default = true
origin = "app"

[[origin]]
name = "app"
addresses = ["127.0.0.1:{origin}"]
"""


def main():
    arguments = parse()
    cpus = sorted(os.sched_getaffinity(0))
    # The node on a CPU of its own, where there are two; the rest on another.
    node_cpu, load_cpu = (cpus[-1], cpus[0]) if len(cpus) > 1 else (None, None)
    running = []
    # A signal must not leave the servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="weir-bench-slow-") as folder:
        try:
            front = start_servers(arguments, Path(folder), running, node_cpu, load_cpu)
            failed = [kind for kind in arguments.kind if not measure(arguments, kind, front, load_cpu)]
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", action="append", choices=("header", "body", "reader"), help="may repeat; all without")
    parser.add_argument("--connections", default="1000", help="slow clients [%(default)s]")
    parser.add_argument("--pace", default="1s", help="the time between two steps of one of them [%(default)s]")
    parser.add_argument("--probe-rate", default="500", help="ordinary requests a second [%(default)s]")
    parser.add_argument("--duration", default="120s", help="measured time for each kind [%(default)s]")
    parser.add_argument("--cycles", default="5", help="slices with and without slow clients [%(default)s]")
    parser.add_argument("--max-factor", default="2", help="what they may cost in p99 [%(default)s]")
    parser.add_argument("--weir", type=Path, default=RELEASE / "weir")
    parser.add_argument("--loadgen", type=Path, default=RELEASE / "weir-loadgen")
    arguments = parser.parse_args()
    arguments.kind = arguments.kind or ["header", "body", "reader"]
    for program in (arguments.weir, arguments.loadgen):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is missing: `make build` builds it")
    return arguments


def start_servers(arguments, folder, running, node_cpu, load_cpu):
    front, origin = free_port(), free_port()
    config = folder / "weir.toml"
    config.write_text(CONFIG.format(front=front, origin=origin))
    log = (folder / "output.log").open("w")
    for name, port, cpu, command in (
        ("the origin", origin, load_cpu, [arguments.loadgen, "origin", "--listen", f"127.0.0.1:{origin}", "--threads", "1"]),
        ("the node", front, node_cpu, [arguments.weir, "run", "--config", config]),
    ):
        process = subprocess.Popen(peers.pinned(cpu) + [str(word) for word in command], stdout=log, stderr=log)
        running.append(process)
        wait_for_port(port, process, name, folder)
    return front


def measure(arguments, kind, front, cpu):
    url = f"http://127.0.0.1:{front}/"
    command = [arguments.loadgen, "slow", "--kind", kind, "--url", url + (LARGE if kind == "reader" else "")]
    command += ["--probe-url", url]
    for flag in ("connections", "pace", "probe_rate", "duration", "cycles", "max_factor"):
        command += [f"--{flag.replace('_', '-')}", getattr(arguments, flag)]
    return subprocess.run(peers.pinned(cpu) + [str(word) for word in command]).returncode == 0


if __name__ == "__main__":
    main()
