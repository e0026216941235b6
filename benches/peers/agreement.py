"""Whether weir-loadgen says the same about a target as wrk and h2load do."""

import json
import re
import shutil
import statistics
import subprocess

import peers

CONNECTIONS = 64
# Medians of rates and latencies may differ by this much even where each tool repeats itself exactly: their own CPU time
# isn't the same, and the target shares memory and caches with it.
TOLERANCE = 0.15
CRITERION = (
    f"the criterion: medians no further apart than {TOLERANCE * 100:.0f} % of weir-loadgen's, or than the least and the most of one"
    " tool's own runs"
)


def check(loadgen, url, rounds, seconds, cpu):
    """Runs the tools in turns against one target, and compares the medians of their rates and median latencies."""
    tools = {"weir-loadgen": lambda: with_loadgen(loadgen, url, seconds, cpu)}
    if shutil.which("wrk"):
        tools["wrk"] = lambda: with_wrk(url, seconds, cpu)
    if shutil.which("h2load"):
        tools["h2load"] = lambda: with_h2load(url, seconds, cpu)
    runs = {name: [] for name in tools}
    for turn in range(rounds):
        names = list(tools) if turn % 2 == 0 else list(reversed(tools))
        for name in names:
            runs[name].append(tools[name]())
    found = {"connections": CONNECTIONS, "rounds": rounds, "seconds": seconds, "tools": {}, "differences": []}
    for name, measured in runs.items():
        found["tools"][name] = {
            "rate": spread([rate for rate, _ in measured]),
            "median_milliseconds": spread([latency for _, latency in measured if latency is not None]),
        }
    ours = found["tools"]["weir-loadgen"]
    for name, theirs in found["tools"].items():
        for figure in ("rate", "median_milliseconds"):
            if name != "weir-loadgen" and theirs[figure] and differs(ours[figure], theirs[figure]):
                found["differences"].append(
                    f"{figure}: {ours[figure]['median']:.4g} against {theirs[figure]['median']:.4g} by {name}"
                )
    found["criterion"] = CRITERION
    found["verdict"] = verdict(found)
    return found


def verdict(found):
    """A sentence that says on which figures the tools agree, and how far apart their medians are."""
    if found["differences"]:
        return f"weir-loadgen DISAGREES: {'; '.join(found['differences'])} ({CRITERION})"
    ours = found["tools"]["weir-loadgen"]
    agreed = []
    for name, theirs in found["tools"].items():
        if name == "weir-loadgen":
            continue
        words = {"rate": "rate", "median_milliseconds": "median latency"}
        apart = [
            f"{words[figure]} (within {abs(theirs[figure]['median'] / ours[figure]['median'] - 1) * 100:.1f} %)"
            for figure in words
            if theirs[figure]
        ]
        agreed.append(f"with {name} on {' and '.join(apart)}")
    if not agreed:
        return "weir-loadgen was compared with nothing, because no other generator is installed"
    return f"weir-loadgen agrees {', '.join(agreed)} ({CRITERION})"


def differs(one, other):
    """Whether two medians are further apart than the tolerance and than what the runs of each tool differ by."""
    distance = abs(one["median"] - other["median"])
    noise = max(one["high"] - one["low"], other["high"] - other["low"])
    return distance > max(TOLERANCE * one["median"], noise)


def spread(values):
    if not values:
        return None
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def output(command, cpu):
    return subprocess.run(peers.pinned(cpu) + command, capture_output=True, text=True, check=True).stdout


def with_loadgen(loadgen, url, seconds, cpu):
    command = [loadgen, "run", "--url", url, "--closed", "--connections", str(CONNECTIONS), "--threads", "1"]
    # A generator that was busy all the time says that a run isn't valid, and its exit code too.
    done = subprocess.run(
        peers.pinned(cpu) + command + ["--duration", f"{seconds}s", "--json", "-"], capture_output=True, text=True
    )
    measured = json.loads(done.stdout)
    return measured["rate"], measured["service_time"]["p50"] / 1e6


def with_wrk(url, seconds, cpu):
    # wrk counts whole seconds.
    text = output(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency", url], cpu)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
    return rate, milliseconds(re.search(r"50%\s+([\d.]+\w+)", text)[1])


def with_h2load(url, seconds, cpu):
    text = output(["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-D{max(1, round(seconds))}", url], cpu)
    # It has no median.
    return float(re.search(r"finished in [^,]+, ([\d.]+) req/s", text)[1]), None


def milliseconds(text):
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
