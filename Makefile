# `make bench` measures, `make test` tests; both set up everything they need in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := build/peers-venv
INTEGRATIONS := build/integrations-venv
DOCS := build/docs-venv
WHEEL := build/wheel-venv
SOURCES := setup.py pyproject.toml $(wildcard csrc/*.c csrc/*.h csrc/*.py csrc/isa/*.c fastact/formulas/*.py fastact/formulas/*/*.py)

.PHONY: bench bench-full bench-peers accuracy accuracy-peers test lint test-numba test-arm test-integrations test-wheel docs clean

bench: $(VENV)/built
	$(BIN)/python bench/report.py

# All functions in all dtypes: takes about an hour.
bench-full: $(VENV)/built
	$(BIN)/python bench/report.py --functions all --dtypes float32,float64,float16,bfloat16

# fastact and other libraries side by side; can be interrupted, as below. Some only:
# PYTHONPATH=. build/peers-venv/bin/python bench/peer_report.py --functions gelu --peers fastact,torch
bench-peers: $(VENV)/built $(PEERS)/installed
	PYTHONPATH=. $(PEERS)/bin/python bench/peer_report.py

# Every function on all its inputs; can be interrupted, and goes on where it was. Some only:
# .venv/bin/python -m accuracy gelu mish --dtypes float32
accuracy: $(VENV)/built
	$(BIN)/python -m accuracy

# Errors of fastact and its peers side by side; can be interrupted, as above. Some only:
# build/peers-venv/bin/python -m accuracy.peers gelu mish
accuracy-peers: $(VENV)/built $(PEERS)/installed
	$(PEERS)/bin/python -m accuracy.peers

# On its own, because the peers' versions are fixed; fastact runs from here. From PyPI, pip
# takes PyTorch with its GPU libraries; PyTorch's own index has it without them:
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
$(PEERS)/installed: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PEERS)/bin/python -m pip install --quiet --group peers
	touch $@

test: export FASTACT_WERROR = 1
test: $(VENV)/built lint
	$(BIN)/python -m pytest -n auto

# Every Numba kernel against C, bit by bit; compiling them all takes minutes.
test-numba: $(VENV)/built
	$(BIN)/python -m pytest -n auto tests/test_numba.py --all-numba-kernels

# The bits of the aarch64 build, under emulation. It takes a cross compiler and QEMU, which
# tests/arm.py asks for.
test-arm: build/arm/driver
	$(BIN)/python -m pytest -n auto tests/test_arm.py --arm

# The adapters of fastact/integrations against the real packages, in an environment of their
# own; fastact runs from here.
test-integrations: $(VENV)/built $(INTEGRATIONS)/installed
	$(INTEGRATIONS)/bin/python -m pytest -n auto tests/integrations tests/test_doctests.py

$(INTEGRATIONS)/installed: pyproject.toml
	$(PYTHON) -m venv $(INTEGRATIONS)
	$(INTEGRATIONS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(INTEGRATIONS)/bin/python -m pip install --quiet "numpy>=2.2" "cffi>=1.17" --group integrations
	touch $@

# The documentation, into build/docs/html; once its environment is there, without network.
# All pages are read anew: they depend on results and on the catalogue, not on their text alone.
docs: $(VENV)/built $(DOCS)/installed
	$(DOCS)/bin/python -m sphinx --fresh-env --fail-on-warning --keep-going --nitpicky --quiet docs build/docs/html

$(DOCS)/installed: pyproject.toml
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(DOCS)/bin/python -m pip install --quiet "numpy>=2.2" "cffi>=1.17" --group docs
	touch $@

# The sdist, the wheel that is built from it, and the tests on the installed wheel. A Python of
# its own: PYTHON=python3.13 makes an abi3 wheel. Minutes to build, and then those of the tests.
test-wheel: $(WHEEL)/installed
	$(WHEEL)/bin/python tools/test_wheel.py

$(WHEEL)/installed: pyproject.toml
	rm -rf $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(WHEEL)/bin/python -m pip install --quiet "numpy>=2.2" "cffi>=1.17" --group wheel
	touch $@

build/arm/driver: $(VENV)/built tests/arm.py tests/arm_driver.c
	$(BIN)/python tests/arm.py

lint: $(VENV)/built
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# What the build and the tools need, once; then the package itself, in place, whenever C
# or formulas have changed. FASTACT_WERROR makes the compiler's warnings errors.
$(VENV)/tools: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet "setuptools>=77" "cffi>=1.17" "numpy>=2.2" "numba>=0.61" --group test
	touch $@

$(VENV)/built: $(VENV)/tools $(SOURCES)
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf $(VENV) build results fastact/*.so fastact/_numba_kernels.py fastact/__init__.pyi fastact/ufuncs.pyi
