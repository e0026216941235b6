"""What an answer of the origin stub costs, beside what proxies need to forward one: how many proxies one origin can feed.

    python3 benches/peers/origin_cost.py --cycles 20

An origin of its own takes turns with nginx and Weir, all on one CPU; the load, and the origin behind the proxies, are on
another. `weir-loadgen compare` does the measuring: CPU time within each cycle.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import peers
import run as bench
import workloads

# What is asked for, and how large the answers are.
WORKLOADS = {
    "get-1k": (workloads.header("User-Agent", "bench"), "1KiB"),
    "post-4k": (["--body-file", str(workloads.TRAFFIC / "order.json")], "1KiB"),
    "get-64k": (workloads.header("User-Agent", "bench"), "64KiB"),
}
OTHERS = ("nginx", "weir")


def main():
    arguments = parse()
    # A signal must not leave servers and keys behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cpus = sorted(os.sched_getaffinity(0))
    for name in arguments.only or WORKLOADS:
        words, body_bytes = WORKLOADS[name]
        for connections in (64, 512):
            with tempfile.TemporaryDirectory(prefix="weir-origin-cost-") as folder:
                measured = measure(arguments, Path(folder), words, body_bytes, connections, cpus[-1], cpus[0])
            print(f"{name}, {connections} connections: {sentence(measured)}", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", default=str(bench.ROOT / "target/release/weir"))
    parser.add_argument("--loadgen", default=str(bench.ROOT / "target/release/weir-loadgen"))
    parser.add_argument("--before", help="another weir-loadgen, whose origin takes part in the turns")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--slice", default="150ms")
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="only this workload; may repeat")
    return parser.parse_args()


def measure(arguments, run, words, body_bytes, connections, cpu, load_cpu):
    """The table of one comparison."""
    running = []
    log = (run / "output.log").open("w")

    def origin(loadgen, cpu):
        port = bench.free_port()
        command = [loadgen, "origin", "--listen", f"127.0.0.1:{port}", "--threads", "1", "--body-bytes", body_bytes]
        running.append(subprocess.Popen(peers.pinned(cpu) + command, stdout=log, stderr=log))
        bench.wait_for_port(port, running[-1], "the origin")
        return port

    try:
        bench.make_certificates(run)
        targets = [("origin", origin(arguments.loadgen, cpu), running[-1].pid)]
        if arguments.before:
            targets.append(("before", origin(arguments.before, cpu), running[-1].pid))
        # No request asks for mutual TLS here.
        behind = origin(arguments.loadgen, load_cpu)
        values = {"ORIGIN": behind, "ORIGIN_MTLS": behind}
        for peer in peers.known(arguments.weir, None):
            if peer.name in OTHERS and shutil.which(peer.command[0]):
                bench.start_peer(peer, run, values, running, cpu, log)
                targets.append((peer.name, peer.ports["PLAIN"], peer.pid))
        command = [arguments.loadgen, "compare", "--threads", "1", "--connections", str(connections), *words]
        command += ["--cycles", str(arguments.cycles), "--slice", arguments.slice, "--warm-up", "50ms"]
        for name, port, pid in targets:
            command += ["--target", f"{name}=http://127.0.0.1:{port}/,pid={pid}"]
        done = subprocess.run(peers.pinned(load_cpu) + command + ["--json", "-"], capture_output=True, text=True)
        if not done.stdout:
            sys.exit(done.stderr)
        return json.loads(done.stdout)["tables"][0]
    finally:
        bench.end(running)


def sentence(table):
    """Medians, and in parentheses percentiles 10 and 90; then the same of each one's cheapest tenth of turns."""
    cheapest = table["targets"][0]["cpu_microseconds_per_answer"]["lowest_tenth"]
    parts = []
    for target in table["targets"]:
        cost, ratio = target["cpu_microseconds_per_answer"], target["cpu_ratio"]
        times = f"{ratio['median']:.2f} times the origin's ({ratio['p10']:.2f}-{ratio['p90']:.2f})"
        undisturbed = f"undisturbed {cost['lowest_tenth']:.2f} us, {cost['lowest_tenth'] / cheapest:.2f}"
        parts.append(f"{target['name']} {cost['median']:.2f} us, {times}, {undisturbed}")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
