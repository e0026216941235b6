# Weir's commands. `make` alone lists them.
#
# `make demo` and `make test` do all of their set-up on Debian 12. They expect a Rust toolchain and explain its absence.

MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.PHONY: help deps build-deps toolchain build demo test lint bench bench-peers bench-peers-pingora bench-slow soak deb

CARGO ?= cargo
# Where rustup puts cargo; a shell that was not opened anew since doesn't know it.
export PATH := $(PATH):$(HOME)/.cargo/bin
# The oldest Rust that the workspace declares.
export RUST_MIN := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

# Seeds of `make soak`; `make test` tries 50.
SEEDS ?= 300
# Mutated requests that `make soak` has read by h11; `make test` tries 50000.
MUTATIONS ?= 2000000

# Requests that `make soak` compares with the policy's model; `make test` compares 100000.
MODEL_CASES ?= 5000000
# How many times as many cases as in `make test` the fuzz targets get in `make soak`.
FUZZ ?= 100

# To build, and for the demo: Hyperscan (libhs.a), and a C and C++ compiler for it and for aws-lc.
BUILD_PACKAGES := libhyperscan-dev gcc g++ ca-certificates
# What the tests talk to, and /bin/kill.
PACKAGES := $(BUILD_PACKAGES) nginx-light haproxy curl openssl procps slowhttptest python3 python3-h11 python3-websockets
# The browser in which the load generator's page is tested, and the generators that vouch for its counts.
PACKAGES += chromium wrk nghttp2-client

# What `make bench-peers` compares with and checks its generator by, how long it takes, and where the proxy on Pingora is.
PEERS := nginx-light haproxy caddy libnginx-mod-http-modsecurity modsecurity-crs wrk nghttp2-client openssl python3
DURATION ?= quick
PINGORA := target/pingora/release/pingora-peer

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 26

deps: toolchain ## Install the Debian packages that building and testing need (with sudo when not root)
	@sh -c "$$INSTALL_MISSING" deps $(PACKAGES)

build-deps: toolchain
	@sh -c "$$INSTALL_MISSING" build-deps $(BUILD_PACKAGES)

build: build-deps ## Build target/release/weir and target/release/weir-loadgen
	$(CARGO) build --release --locked -p weir -p weir-loadgen

demo: build-deps ## Run the main job on this machine: origins, certificates, the node, requests, a table
	$(CARGO) run --release --locked -p weir -- demo

test: deps lint ## Run the format check, the lints and all tests
	$(CARGO) test --workspace --locked

lint: build-deps ## Run the format check and the lints
	@sh -c "$$ADD_COMPONENTS"
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

soak: deps ## Run the long tests: simulation (SEEDS=300), policy model, mutations, explain, fuzz targets, epoll
	WEIR_SIM_SEEDS=$(SEEDS) $(CARGO) test --locked -p weir --lib worker::tests
	WEIR_MODEL_CASES=$(MODEL_CASES) $(CARGO) test --locked -p weir-policy --test model
	WEIR_MUTATIONS=$(MUTATIONS) $(CARGO) test --locked -p weir --test e2e mutations_of_the_cases
	WEIR_EXPLAINED_ROUNDS=100 $(CARGO) test --locked -p weir --test e2e what_is_explained_of_random_rules
	WEIR_FUZZ_CASES=$(FUZZ) $(CARGO) test --locked -p weir-fuzz
	WEIR_TEST_IO=portable $(CARGO) test --locked -p weir --test e2e

bench: build-deps ## Measure the parts of the hot path (criterion)
	$(CARGO) bench --locked -p weir-benches

bench-peers: build ## Compare with nginx, HAProxy, Caddy and ModSecurity on this machine (DURATION=quick or full)
	@sh -c "$$INSTALL_MISSING" bench-peers $(PEERS)
	python3 benches/peers/run.py --duration $(DURATION) $(addprefix --pingora ,$(wildcard $(PINGORA)))

bench-peers-pingora: build-deps ## Build a small proxy on Pingora (crates.io), for bench-peers to take along
	@sh -c "$$INSTALL_MISSING" bench-peers-pingora cmake libssl-dev pkg-config
	$(CARGO) build --release --locked --manifest-path benches/peers/pingora/Cargo.toml --target-dir target/pingora

bench-slow: build ## Measure what a thousand slow clients cost others; fails if it is over twice the p99
	@sh -c "$$INSTALL_MISSING" bench-slow python3
	benches/slow_clients.py

deb: build ## Make the Debian package target/weir_VERSION_ARCHITECTURE.deb
	packaging/build-deb target/release target

toolchain:
	@sh -c "$$CHECK_TOOLCHAIN"

# The recipes that are longer than one command. `$$` is make's way to write `$`.

export CHECK_TOOLCHAIN
define CHECK_TOOLCHAIN
found=$$($(CARGO) --version 2>/dev/null | cut -d ' ' -f 2)
if [ -n "$$found" ] && printf '%s\n' "$$RUST_MIN" "$$found" | sort -C -V; then
    exit 0
fi
echo "Weir needs Rust $$RUST_MIN or newer; \`$(CARGO) --version\` said: $${found:-nothing}." >&2
echo "Debian 12's own packages are older. Install or update it as https://rustup.rs says:" >&2
echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
echo "or, where rustup is there already: rustup update stable" >&2
exit 1
endef

export ADD_COMPONENTS
define ADD_COMPONENTS
for component in fmt clippy; do
    $(CARGO) $$component --version >/dev/null 2>&1 && continue
    echo "\`$(CARGO) $$component\` is missing: adding rustfmt and clippy to the toolchain" >&2
    rustup component add rustfmt clippy && exit 0
    echo "Install rustfmt and clippy for this toolchain; \`make test\` needs both." >&2
    exit 1
done
endef

# Installs those of its arguments that are missing, and touches nothing if none is. No service is started: a
# policy-rc.d that says so is there while packages are unpacked, unless the system has its own.
export INSTALL_MISSING
define INSTALL_MISSING
set -eu
command -v dpkg-query >/dev/null || {
    echo "This is no Debian: what these packages hold is needed and not installed for you: $$*" >&2
    exit 0
}
missing=
for package; do
    state=$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null) || state=none
    [ "$$state" = installed ] || missing="$$missing $$package"
done
[ -n "$$missing" ] || exit 0
as_root=
if [ "$$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "Run as root: apt-get install$$missing" >&2
        exit 1
    }
    as_root=sudo
fi
echo "installing$$missing"
$$as_root sh -eu -c '
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $$policy ]; then
        trap "rm -f $$policy" EXIT
        trap "exit 1" INT TERM
        printf "#!/bin/sh\nexit 101\n" > $$policy
        chmod 755 $$policy
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q
    apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$$@"
' sh $$missing
endef
