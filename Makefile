# `make demo` and `make test`, each from nothing: a virtual environment in .venv, the tested versions, the job.
PYTHON ?= python3
VENV ?= .venv
# Bytecode of what is imported is written when it is imported; for all that is installed it takes two minutes.
PIP = $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt
PACKAGES = -e . -e plugins/eap -e plugins/acdc -e plugins/sp -e plugins/baselines
WANTED = pyproject.toml $(wildcard plugins/*/pyproject.toml) constraints.txt

# Else every process compiles every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test zoo-check clean

demo: $(VENV)/.installed
	$(VENV)/bin/interpbench run eap --case ioi

test: $(VENV)/.installed-for-tests
	$(VENV)/bin/python -m pytest -n auto

# Subjects of other seeds than the bundled ones, made from nothing: the settings certify, not one lucky seed.
zoo-check: $(VENV)/.installed-for-tests
	$(VENV)/bin/interpbench train siit --suite quick --seed 100 --seeds 3 --jobs 2 --out zoo-check
	for case in 3 4 7 18 44; do $(VENV)/bin/interpbench verify $$case --model zoo-check/$$case/siit || exit 1; done

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("interpbench needs Python 3.11 or later: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# PyTorch first and alone, so that a copy that is there already (of whatever build) is kept.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(PIP) $(shell grep '^torch==' constraints.txt)
	touch $@

$(VENV)/.installed: $(WANTED) $(VENV)/.torch
	$(PIP) $(PACKAGES)
	touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(PIP) -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV)
