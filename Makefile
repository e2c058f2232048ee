# One verb each; `make help` lists them. PYTHON=… chooses the Python to embed.
PYTHON ?= /usr/bin/python3
PORT ?= 8888
SITE ?= examples
PREFIX ?= /usr/local
export PYO3_PYTHON := $(PYTHON)

VENV := target/venv
DOCS := target/docs/venv
MODULE := target/release/libmod_python.so
TESTED := --features test-faults
# A file of tests runs in one process: its servers are kept from test to test.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile
# See .cargo/config.toml: what pyo3 would have to defer aborts.
STRICT := RUSTFLAGS="--cfg pyo3_disable_reference_pool"

.PHONY: help setup build wheel deb run test test-matrix soak fuzz apifuzz leaks memcheck hostile audit bench docs lint fmt install uninstall clean

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ; @tools/setup.sh $(PYTHON)
setup-%: ; @tools/setup.sh $(PYTHON) $*
build: setup ## build the module: target/release/libmod_python.so
	cargo build --release --locked

wheel: build setup-venv ## a wheel of what is built, for pip install: dist/*.whl
	$(PYTHON) -m venv --clear target/wheel/venv && target/wheel/venv/bin/pip wheel -q --disable-pip-version-check --no-deps -w dist .
deb: setup-deb ## a Debian package of what is built: dist/*.deb
	@tools/deb.sh
run: build setup-run ## serve SITE=directory on 127.0.0.1, PORT=8888, in the foreground; SITE/.venv is its PythonHome
	@$(PYTHON) tools/run.py --site "$(SITE)" --port "$(PORT)"

test: build setup-tests $(VENV)/ready ## run every test, on event, worker and prefork; some beside Debian's modules, some on a debug Python
	$(STRICT) cargo build --locked $(TESTED)
	$(STRICT) cargo test --locked $(TESTED)
	$(VENV)/bin/pytest -q $(if $(ARGS),,$(PARALLEL)) tests $(ARGS)
	$(if $(ARGS),,tools/test_beside.sh $(VENV))
	$(if $(ARGS),,tools/debug_python.sh)
test-matrix: ## run the suite on Debian trixie and sid too: Python 3.13 and the newest (as root; debootstrap)
	tools/matrix.sh trixie sid
fuzz: build setup-fuzz $(VENV)/ready ## fuzz every parser for SECONDS=60, two at a time
	$(VENV)/bin/pip install -q --disable-pip-version-check -r tests/fuzz/requirements.txt
	tools/fuzz.sh $(or $(SECONDS),60) $(ARGS)
apifuzz: build setup-apifuzz $(VENV)/ready ## random calls of the whole API in a real httpd, SECONDS=60 for each MPM; ARGS="--h2"
	$(VENV)/bin/python tests/apifuzz.py --seconds $(or $(SECONDS),60) --mpm event,worker,prefork $(ARGS)
soak: ## restart httpd gracefully 1,000 times under load (20 minutes); ARGS="--restarts 100 --mpm worker"
leaks: ## 1,000,000 requests of each kind, and what memory does (an hour); ARGS="--requests 100000 wsgi psp"
memcheck: ## a run under valgrind: what it says of this module
hostile: ## answers to hostile clients, with and without the module: writes docs/hostile.md
soak leaks memcheck hostile: %: build setup-% $(VENV)/ready
	$(VENV)/bin/python tests/$@.py $(ARGS)
audit: $(VENV)/ready ## known vulnerabilities in what is used, from databases on the net (cargo-audit, pip-audit)
	tools/audit.sh $(VENV)
bench: build setup-bench ## measure this module beside others, and write bench/report.md; QUICK=1 ends in five minutes
	$(PYTHON) bench/prepare.py && target/bench/venv/bin/python bench/run.py $(if $(QUICK),--quick)

docs: $(DOCS)/ready ## make the documentation's site of docs/ and the package: target/docs/site; a broken link fails
	$(DOCS)/bin/python tools/docs.py
lint: $(VENV)/ready ## check formatting, lints and types
	cargo fmt --check
	$(STRICT) cargo clippy --locked --all-targets -- -D warnings
	$(STRICT) cargo clippy --locked --all-targets $(TESTED) -- -D warnings
	$(VENV)/bin/ruff format --check . && $(VENV)/bin/ruff check . && $(VENV)/bin/mypy && $(VENV)/bin/python tools/circles.py
	tools/deny.sh
fmt: $(VENV)/ready ## format Rust and Python
	cargo fmt
	$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .
install: ## install what `make build` has made into the system's httpd (apxs names the place); DESTDIR=… for packages
uninstall: ## remove what was installed, but for settings that were edited
install uninstall:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" PYTHON="$(PYTHON)" tools/install.sh $@
clean: ## remove everything that was built
	rm -rf target dist
$(VENV)/ready: tests/requirements.txt
$(DOCS)/ready: docs/requirements.txt
$(VENV)/ready $(DOCS)/ready: %/ready: | setup-venv
	$(PYTHON) -m venv $*
	$*/bin/pip install -q --disable-pip-version-check -r $(lastword $^)
	touch $@
