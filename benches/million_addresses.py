#!/usr/bin/env python3
"""Measures what a list of a million addresses costs `weir check`, which reads and compiles it as `weir run` does.

    make build && benches/million_addresses.py [target/release/weir]

Prints the seconds of each of five runs with an empty list and with the long one; their difference is the list's.
"""

import ipaddress
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ENTRIES = 1_000_000
CONFIG = """
[[listener]]
name = "public"
address = "127.0.0.1:0"
[[server]]
name = "site"
hosts = ["site.example"]
default = true
origin = "app"
[[origin]]
name = "app"
addresses = ["127.0.0.1:9"]
[detection]
cache_dir = "cache"
[ip_lists]
file = "lists.toml"
"""


def entries(count):
    """Networks of both families with lengths as feeds have them, the same ones each time."""
    draw = random.Random(1)
    for _ in range(count):
        kind = draw.choice(("allow", "deny", "deny", "deny", "gray"))
        if draw.random() < 0.8:
            network = ipaddress.ip_network((draw.getrandbits(32), draw.choice((24, 32, 32, 32))), strict=False)
        else:
            network = ipaddress.ip_network((0x2001 << 112 | draw.getrandbits(112), draw.choice((48, 64, 128))), strict=False)
        yield f'[[entry]]\nlist = "{kind}"\naddress = "{network}"\n'


def seconds(command):
    begun = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    taken = time.monotonic() - begun
    if done.returncode != 0:
        sys.exit(done.stderr)
    return taken


def main():
    weir = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/weir").resolve()
    with tempfile.TemporaryDirectory(prefix="weir-lists-") as name:
        folder = pathlib.Path(name)
        (folder / "weir.toml").write_text(CONFIG)
        command = [weir, "check", "--config", folder / "weir.toml"]
        for count in (0, ENTRIES):
            (folder / "lists.toml").write_text("".join(entries(count)))
            seconds(command)  # The first run fills the caches.
            runs = sorted(seconds(command) for _ in range(5))
            print(f"{count:>9} entries: {', '.join(f'{run:.2f}' for run in runs)} s")


main()
