"""What a generator's own CPU time buys: answers of the origin stub for each CPU second, beside wrk.

    python3 benches/peers/generator_cost.py --loadgen target/release/weir-loadgen --rounds 10

One thread of each, pinned to one CPU, in turns against one origin thread on another.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys

import peers

CONNECTIONS = 64


def measure(loadgen, rounds, seconds, load_cpu, origin_cpu):
    """CPU time for each answer of both, and the ratio within each turn; None where there is no wrk."""
    if not shutil.which("wrk"):
        return None
    command = [loadgen, "origin", "--listen", "127.0.0.1:0", "--threads", "1"]
    origin = subprocess.Popen(peers.pinned(origin_cpu) + command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        # It says so when it listens.
        url = f"http://{origin.stdout.readline().split()[1]}/"
        tools = {
            "wrk": lambda: with_wrk(url, seconds, load_cpu),
            "weir-loadgen": lambda: with_loadgen(loadgen, url, seconds, load_cpu),
        }
        runs = {name: [] for name in tools}
        for turn in range(rounds):
            for name in list(tools) if turn % 2 == 0 else reversed(tools):
                runs[name].append(tools[name]())
    finally:
        origin.terminate()
        origin.wait()
    ratios = [wrk / ours for wrk, ours in zip(runs["wrk"], runs["weir-loadgen"])]
    return {
        "connections": CONNECTIONS,
        "rounds": rounds,
        "seconds": seconds,
        "cpu_microseconds_per_answer": {name: spread(values) for name, values in runs.items()},
        # More than 1: more answers for each CPU second than wrk.
        "answers_per_cpu_second_to_wrk": spread(ratios),
        "ratio_of_each_round": ratios,
    }


def with_wrk(url, seconds, cpu):
    # wrk counts whole seconds.
    text, used = run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url], cpu)
    return used / int(re.search(r"(\d+) requests in", text)[1]) * 1e6


def with_loadgen(loadgen, url, seconds, cpu):
    command = [loadgen, "run", "--url", url, "--closed", "--connections", str(CONNECTIONS), "--threads", "1"]
    text, used = run([*command, "--duration", f"{max(1, round(seconds))}s", "--json", "-"], cpu)
    return used / json.loads(text)["requests"] * 1e6


def run(command, cpu):
    """What a command prints, and the CPU time of its process from start to end. A busy generator's exit code is no failure."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(peers.pinned(cpu) + command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def spread(values):
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def sentences(found):
    cost = found["cpu_microseconds_per_answer"]
    ratio = found["answers_per_cpu_second_to_wrk"]
    figures = ", ".join(
        f"{name} {figure['median']:.2f} us ({figure['low']:.2f}-{figure['high']:.2f})" for name, figure in cost.items()
    )
    return (
        f"CPU time for each answer of 1 KiB from the origin stub, {found['connections']} connections, {found['rounds']} turns of"
        f" {found['seconds']} s: {figures}. Answers for each CPU second, as a multiple of wrk's in the same turn:"
        f" {ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loadgen", default="target/release/weir-loadgen")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=1)
    arguments = parser.parse_args()
    # A signal must not leave the origin behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cpus = sorted(os.sched_getaffinity(0))
    found = measure(arguments.loadgen, arguments.rounds, arguments.seconds, cpus[0], cpus[-1])
    if not found:
        sys.exit("wrk is missing: apt-get install wrk")
    print(sentences(found))


if __name__ == "__main__":
    main()
