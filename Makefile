# Everything a newcomer needs: `make demo` and `make test`. The recipes are in tools/, one script each.
.PHONY: help demo test test-kubernetes interop bench setup fmt lint unit lock
.DEFAULT_GOAL := help
# What a node of the test cluster needs from the system.
NODE := containerd=containerd runc=runc /usr/lib/cni/bridge=containernetworking-plugins busybox=busybox-static iptables=iptables conntrack=conntrack ip=iproute2

help:  ## list the recipes
	@grep -E '^[a-z-]+:.*##' Makefile | sed -e 's/:.*##/\t/' | expand -t 12

setup:  ## make .venv from the hash-locked requirements
	@tools/setup

demo:  ## play the whole road on a real application
	@tools/system-packages bwrap=bubblewrap git=git /usr/bin/python3=python3 py:pip=python3-pip
	@tools/setup
	@tools/demo

test:  ## install what is missing and run all that CI runs
	@tools/system-packages bwrap=bubblewrap git=git ssh-keygen=openssh-client curl=curl pgrep=procps busybox=busybox-static /usr/bin/python3=python3 py:pip=python3-pip py:ensurepip=python3-venv
	@tools/system-packages --optional chromium=chromium /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf=fonts-dejavu-core skopeo=skopeo gpg=gpg gpgv=gpgv go=golang-go docker-registry=docker-registry openssl=openssl $(NODE)
	@tools/setup --test
	@tools/test

test-kubernetes:  ## what needs a real cluster: builds one once (about 8 minutes), starts it in seconds; root only
	@tools/system-packages $(NODE)
	@tools/setup --test
	@.venv/bin/python -m pytest -q -p no:cacheprovider tests/kubernetes

interop:  ## stock cosign, oras and the OCI conformance suite against a server (builds them: minutes)
	@tools/setup --test
	@tools/interop/run

bench:  ## measure everything; the tables go to docs/benchmarks.md
	@tools/setup --test
	@tools/bench

bench-%:
	@tools/setup --test
	@tools/bench $*

lint:  ## format, lint, types, import contracts
	@tools/setup --test
	@tools/lint

unit:  ## the fast tests only
	@tools/setup --test
	@.venv/bin/python -m pytest -q tests/unit

fmt:  ## format the code
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

lock: setup  ## resolve requirements anew, with hashes and without any registry's host
	@tools/lock
