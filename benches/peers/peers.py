"""The proxies that are compared: how each is started, which ports it gets, and what it is."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIGS = HERE / "configs"
NGINX_MODULES = Path("/usr/lib/nginx/modules")


@dataclass
class Peer:
    """A proxy under test."""

    name: str
    config: str
    # The command that runs it in the foreground; CONFIG stands for its config file.
    command: list
    # The command that prints its version, and the Debian packages that it consists of.
    version: list
    packages: list = field(default_factory=list)
    # Which of the ports PLAIN, TLS and MTLS it listens on.
    fronts: tuple = ("PLAIN", "TLS", "MTLS")
    # More values for its config, and more files that its config needs.
    values: dict = field(default_factory=dict)
    files: tuple = ()
    environment: dict = field(default_factory=dict)
    # What follows is filled in when it runs.
    ports: dict = field(default_factory=dict)
    process: object = None

    @property
    def pid(self):
        return self.process.pid


def known(weir, pingora):
    """All peers, whether they are installed or not. `pingora` is the binary of `make bench-peers-pingora`, or None."""
    nginx = ["nginx", "-c", "CONFIG", "-e", "stderr"]
    peers = [
        Peer("nginx", "nginx.conf", nginx, ["nginx", "-v"], ["nginx-light", "nginx"]),
        Peer("haproxy", "haproxy.cfg", ["haproxy", "-f", "CONFIG"], ["haproxy", "-v"], ["haproxy"]),
        Peer(
            "caddy",
            "Caddyfile",
            ["caddy", "run", "--config", "CONFIG", "--adapter", "caddyfile"],
            ["caddy", "version"],
            ["caddy"],
            environment={"GOMAXPROCS": "1"},
        ),
        Peer(
            "nginx+modsecurity",
            "nginx-modsecurity.conf",
            nginx,
            ["nginx", "-v"],
            ["libnginx-mod-http-modsecurity", "libmodsecurity3", "modsecurity-crs"],
            fronts=("PLAIN",),
            files=("modsecurity-rules.conf",),
        ),
        weir_peer("weir", weir, "off"),
        weir_peer("weir inspecting", weir, "block"),
    ]
    if pingora:
        peers.append(Peer("pingora", "pingora.txt", [pingora, "CONFIG"], [pingora, "--version"]))
    return peers


def weir_peer(name, binary, mode):
    command = [binary, "run", "--config", "CONFIG"]
    return Peer(name, "weir.toml", command, [binary, "--version"], values={"MODE": mode, "NAME": f"weir-{mode}"})


def why_missing(peer):
    """Why a peer can't run here; None if it can."""
    if not shutil.which(peer.command[0]):
        return f"{peer.command[0]} is not installed"
    if "modsecurity" in peer.name:
        for path in (NGINX_MODULES / "ngx_http_modsecurity_module.so", Path("/usr/share/modsecurity-crs/rules")):
            if not path.exists():
                return f"{path} is missing"
    return None


def write_config(peer, run, values):
    """Writes a peer's config with its ports into the folder `run`, and returns the files."""
    user = "user root;" if os.geteuid() == 0 else ""
    values = {"NGINX_USER": user, "NGINX_MODULES": NGINX_MODULES, "RUN": run, **values, **peer.values, **peer.ports}
    written = []
    for name in (peer.config, *peer.files):
        text = fill((CONFIGS / name).read_text(), values)
        # Two peers may share a template, but not a file.
        path = run / (name if name in peer.files else f"{peer.name.replace(' ', '-')}-{name}")
        path.write_text(text)
        written.append(path)
    return written


def fill(text, values):
    return re.sub(r"@([A-Z_]+)@", lambda match: str(values[match[1]]), text)


def start(peer, config, cpu, log):
    command = [str(config) if word == "CONFIG" else word for word in peer.command]
    peer.process = subprocess.Popen(
        pinned(cpu) + command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **peer.environment},
    )


def pinned(cpu):
    """The words before a command that keep it on one CPU; taskset replaces itself by the command."""
    return [] if cpu is None else ["taskset", "--cpu-list", str(cpu)]


def version(peer):
    """What a peer says its version is, and the versions of its packages."""
    said = subprocess.run(peer.version, capture_output=True, text=True)
    first = (said.stdout + said.stderr).strip().splitlines()[:1]
    return {"says": first[0] if first else "nothing", "packages": package_versions(peer.packages)}


def package_versions(names):
    if not names or not shutil.which("dpkg-query"):
        return {}
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names], capture_output=True, text=True
    ).stdout
    return dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
