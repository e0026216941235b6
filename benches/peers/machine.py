"""What the figures depend on: the machine, its kernel, and what else it was doing."""

import os
import platform
import re
from pathlib import Path


def facts():
    cpu = first_line("/proc/cpuinfo", r"^model name\s*:\s*(.*)")
    return {
        "cpu": cpu,
        "usable_cpus": len(os.sched_getaffinity(0)),
        "memory_mib": int(first_line("/proc/meminfo", r"^MemTotal:\s*(\d+)") or 0) // 1024,
        "kernel": platform.release(),
        "system": first_line("/etc/os-release", r'^PRETTY_NAME="?(.*?)"?$'),
        "hypervisor": "hypervisor" in first_line("/proc/cpuinfo", r"^flags\s*:\s*(.*)").split(),
        "clock_source": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "frequency_governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "mitigations": {
            path.name: path.read_text().strip()
            for path in sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*"))
            if path.read_text().strip() != "Not affected"
        },
        "load_average_at_start": os.getloadavg(),
    }


def slug():
    """A name for this machine in a path."""
    words = re.findall(r"[a-z0-9]+", first_line("/proc/cpuinfo", r"^model name\s*:\s*(.*)").lower())
    dull = {"r", "tm", "cpu", "processor", "core", "with"}
    name = "-".join(word for word in words if word not in dull)[:40].strip("-") or platform.machine()
    return f"{name}-{len(os.sched_getaffinity(0))}cpu"


def read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return "unknown"


def first_line(path, pattern):
    for line in read(path).splitlines():
        found = re.search(pattern, line)
        if found:
            return found[1]
    return ""
