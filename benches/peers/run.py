#!/usr/bin/env python3
"""Compares Weir with its peers on this machine, and writes what was measured into benches/results/.

    make bench-peers                       a quick look, some minutes
    make bench-peers DURATION=full         figures worth keeping, half an hour on a quiet machine

`weir-loadgen compare` does the measuring: all peers are up, the load goes to one at a time for a fraction of a second,
round and round, and CPU time per request is compared within each round. docs/benchmarks.md says how to read the result.
"""

import argparse
import datetime
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import agreement
import generator_cost
import machine
import peers
import report
import workloads

ROOT = Path(__file__).resolve().parents[2]

# Cycles, length of a slice and of its warm-up: usually; with many connections, whose answers take as much longer; for
# peers that need milliseconds for a request; and for both together, where half a thousand requests at milliseconds each are
# over only after most of a second. For the check of the generator, rounds and seconds.
DURATIONS = {
    "smoke": {
        "usual": (3, "60ms", "20ms"),
        "many": (2, "150ms", "100ms"),
        "slow": (2, "500ms", "300ms"),
        "slow and many": (2, "1500ms", "1s"),
        "agreement": (1, 1),
    },
    "quick": {
        "usual": (15, "120ms", "30ms"),
        "many": (8, "400ms", "150ms"),
        "slow": (4, "1500ms", "500ms"),
        "slow and many": (4, "3s", "1500ms"),
        "agreement": (3, 1),
    },
    "full": {
        "usual": (60, "120ms", "30ms"),
        "many": (30, "500ms", "200ms"),
        "slow": (10, "4s", "2s"),
        "slow and many": (10, "4s", "2s"),
        "agreement": (7, 2),
    },
}
# From so many connections on.
MANY_CONNECTIONS = 256


def main():
    arguments = parse()
    cpus = sorted(os.sched_getaffinity(0))
    # The proxies on a CPU of their own, where there are two; load and origin on another.
    proxy_cpu, load_cpu = (cpus[-1], cpus[0]) if len(cpus) > 1 else (None, None)
    started = datetime.datetime.now(datetime.timezone.utc)
    # A signal must not leave the peers and their keys behind: with this the block below runs to its end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = results_folder(arguments.results, started, arguments.machine or machine.slug())
    run = Path(tempfile.mkdtemp(prefix="weir-bench-peers-"))
    running = []
    try:
        facts = {"started": started.isoformat(timespec="seconds"), "duration": arguments.duration}
        facts["machine"] = machine.facts()
        facts["cpus"] = {"proxies": proxy_cpu, "load_and_origin": load_cpu}
        results = measure(arguments, run, folder, running, facts, (proxy_cpu, load_cpu))
        facts["load_average_at_end"] = os.getloadavg()
        (folder / "environment.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / "table.md").write_text(report.table(facts, results))
        (folder / "plot.svg").write_text(report.plot(facts, results))
        print(f"\n{(folder / 'table.md').read_text()}\nwritten to {folder}")
    finally:
        end(running)
        if arguments.keep:
            print(f"configs and logs of the peers: {run}")
        else:
            shutil.rmtree(run, ignore_errors=True)


def results_folder(results, started, name):
    """A folder of this run's own: what another run of the same day found stays as it is."""
    for moment in ("%Y-%m-%d", "%Y-%m-%d-%H%M%S"):
        folder = results / f"{started.strftime(moment)}-{name}"
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
    sys.exit(f"{folder} is there already")


def end(running):
    for process in reversed(running):
        process.terminate()
    for process in running:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--duration", choices=DURATIONS, default="quick")
    parser.add_argument("--weir", default=str(ROOT / "target/release/weir"))
    parser.add_argument("--loadgen", default=str(ROOT / "target/release/weir-loadgen"))
    parser.add_argument("--pingora", help="the program of benches/peers/pingora; left out without it")
    parser.add_argument("--results", type=Path, default=ROOT / "benches/results")
    parser.add_argument("--machine", help="what the folder of results calls this machine")
    parser.add_argument("--only", action="append", help="only this workload; may repeat")
    parser.add_argument("--keep", action="store_true", help="keep the configs and logs of the peers")
    arguments = parser.parse_args()
    keys = [workload.key for workload in workloads.ALL]
    for key in arguments.only or []:
        if key not in keys:
            parser.error(f"there is no workload {key}: {', '.join(keys)}")
    for program in filter(None, (arguments.weir, arguments.loadgen, arguments.pingora)):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is missing: `make build` and `make bench-peers-pingora` build what is compared")
    return arguments


def measure(arguments, run, folder, running, facts, cpus):
    proxy_cpu, load_cpu = cpus
    make_certificates(run)
    values = {"ORIGIN": free_port(), "ORIGIN_MTLS": free_port()}
    log = (run / "output.log").open("w")
    for front, extra in (("ORIGIN", []), ("ORIGIN_MTLS", origin_tls(run))):
        command = [arguments.loadgen, "origin", "--listen", f"127.0.0.1:{values[front]}", "--threads", "1", *extra]
        running.append(subprocess.Popen(peers.pinned(load_cpu) + command, stdout=log, stderr=log))
        wait_for_port(values[front], running[-1], "the origin")
    up, facts["peers"], facts["left_out"] = start_peers(arguments, run, values, running, proxy_cpu, log)
    facts["tools"] = {
        "weir-loadgen": said([arguments.loadgen, "--version"]),
        "weir-loadgen sha256": digest(Path(arguments.loadgen)),
        "commit": said(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
    }
    # What was sent.
    facts["traffic sha256"] = {path.name: digest(path) for path in sorted(workloads.TRAFFIC.iterdir())}
    facts["workloads"] = {}
    results = []
    for workload in workloads.ALL:
        if not arguments.only or workload.key in arguments.only:
            results.append(compare(arguments, run, folder, workload, up, load_cpu))
            facts["workloads"][workload.key] = {
                "connections": [table["connections"] for table in results[-1]["tables"]],
                "left_out": results[-1]["absent"],
                "not_valid": results[-1]["reasons"],
            }
    if not arguments.only and "nginx" in up:
        rounds, seconds = DURATIONS[arguments.duration]["agreement"]
        url = f"http://127.0.0.1:{up['nginx'].ports['PLAIN']}/"
        facts["agreement"] = agreement.check(arguments.loadgen, url, rounds, seconds, load_cpu)
        print(facts["agreement"]["verdict"])
        cost = generator_cost.measure(arguments.loadgen, rounds, seconds, load_cpu, proxy_cpu)
        if cost:
            facts["generator_cost"] = cost
            print(generator_cost.sentences(cost))
    return results


def start_peers(arguments, run, values, running, cpu, log):
    up, described, left_out = {}, {}, {}
    if not arguments.pingora:
        left_out["pingora"] = "it isn't built: `make bench-peers-pingora`"
        print(f"without pingora: {left_out['pingora']}")
    for peer in peers.known(arguments.weir, arguments.pingora):
        missing = peers.why_missing(peer)
        if missing:
            left_out[peer.name] = missing
            print(f"without {peer.name}: {missing}")
            continue
        start_peer(peer, run, values, running, cpu, log)
        up[peer.name] = peer
        templates = [peer.config, *peer.files]
        described[peer.name] = {
            **peers.version(peer),
            # Of the templates in the repository: ports and folders differ from run to run.
            "config sha256": {name: digest(peers.CONFIGS / name) for name in templates},
            "binary sha256": digest(Path(shutil.which(peer.command[0]))),
        }
    return up, described, left_out


def start_peer(peer, run, values, running, cpu, log):
    """Starts a peer on free ports, and waits until it listens."""
    peer.ports = {front: free_port() for front in ("PLAIN", "TLS", "MTLS")}
    if peer.config == "weir.toml":
        # One listener and two origins, told apart by the path.
        peer.ports["MTLS"] = peer.ports["PLAIN"]
    files = peers.write_config(peer, run, values)
    peers.start(peer, files[0], cpu, log)
    running.append(peer.process)
    wait_for_port(peer.ports["PLAIN"], peer.process, peer.name, run)


def compare(arguments, run, folder, workload, up, cpu):
    """Runs one workload over all its numbers of connections; what was measured, and what went wrong."""
    taking_part = [up[name] for name in workload.peers if name in up and workload.front in up[name].fronts]
    absent = [name for name in workload.peers if name not in [peer.name for peer in taking_part]]
    result = {"workload": workload, "absent": absent, "tables": [], "reasons": [], "notes": []}
    if len(taking_part) < 2:
        result["reasons"].append("fewer than two peers can do this here")
        return result
    print(f"{workload.key}: {', '.join(peer.name for peer in taking_part)}", flush=True)
    scheme = "https" if workload.front == "TLS" else "http"
    for count in workload.connections:
        is_many = count >= MANY_CONNECTIONS
        pace = "slow and many" if workload.slow and is_many else "slow" if workload.slow else "many" if is_many else "usual"
        cycles, slice_time, warm_up = DURATIONS[arguments.duration][pace]
        raw = folder / f"{workload.key}-{count}.json"
        command = [arguments.loadgen, "compare", "--threads", "1", "--connections", str(count)]
        command += ["--cycles", str(cycles), "--slice", slice_time, "--warm-up", warm_up, "--json", str(raw)]
        for peer in taking_part:
            name = peer.name.replace(" ", "-")
            url = f"{scheme}://127.0.0.1:{peer.ports[workload.front]}{workload.path}"
            command += ["--target", f"{name}={url},pid={peer.pid}"]
        command += [word.replace("@RUN@", str(run)) for word in workload.arguments]
        done = subprocess.run(peers.pinned(cpu) + command, capture_output=True, text=True)
        if raw.exists():
            measured = json.loads(raw.read_text())
            result["tables"] += measured["tables"]
            result["reasons"] += [f"{count} connections: {reason}" for reason in measured["reasons"]]
            result["notes"] += measured["notes"]
        else:
            result["reasons"].append(f"{count} connections: {done.stderr.strip()}")
        for reason in result["reasons"]:
            print(f"  {reason}", file=sys.stderr, flush=True)
    return result


def origin_tls(run):
    files = {"--tls-certificate": "server.pem", "--tls-key": "server.key", "--client-ca": "ca.pem"}
    return [word for flag, name in files.items() for word in (flag, str(run / name))]


def make_certificates(run):
    """A CA, and certificates of a server (localhost) and of a client (edge): ECDSA P-256, as most sites have."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

    def openssl(*words):
        done = subprocess.run(["openssl", *words], cwd=run, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"openssl {words[0]}: {done.stderr}")

    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/CN=bench CA")
    for name, subject, usage in (("server", "localhost", "serverAuth"), ("client", "edge", "clientAuth")):
        extensions = run / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{subject},IP:127.0.0.1\nextendedKeyUsage={usage}\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={subject}")
        signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-extfile", extensions.name, "-out", f"{name}.pem")
        both = (run / f"{name}.pem").read_text() + (run / f"{name}.key").read_text()
        (run / f"{name}-with-key.pem").write_text(both)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process, name, run=None):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said_so = (run / "output.log").read_text()[-2000:] if run else ""
    sys.exit(f"{name} does not listen on 127.0.0.1:{port}\n{said_so}")


def said(command):
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
