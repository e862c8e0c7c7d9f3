# `make demo` and `make test`, each from nothing: a virtual environment in .venv, the tested versions, the job.
PYTHON ?= python3
VENV ?= .venv
# Bytecode of what is imported is written when it is imported; for all that is installed it takes two minutes.
CONSTRAINTS ?= constraints.txt
PIP = $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $(CONSTRAINTS)
PACKAGES = -e . -e plugins/eap -e plugins/acdc -e plugins/sp -e plugins/baselines
WANTED = pyproject.toml $(wildcard plugins/*/pyproject.toml) constraints.txt

# Else every process compiles every module that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lens3-check zoo-check clean

demo: $(VENV)/.installed
	$(VENV)/bin/interpbench run eap --case ioi

test: $(VENV)/.installed-for-tests
	$(VENV)/bin/python -m pytest -n auto

# EAP-IG and MIB need TransformerLens below 4; the tested versions have 4, which is another library in many ways.
lens3-check: LENS3 = $(VENV)-lens3
lens3-check:
	sed 's/^transformer-lens==.*/transformer-lens<4/' constraints.txt > $(LENS3).txt
	$(MAKE) VENV=$(LENS3) CONSTRAINTS=$(LENS3).txt $(LENS3)/.installed-for-tests
	$(LENS3)/bin/python -m pytest tests/test_lens.py

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
	rm -rf $(VENV) $(VENV)-lens3 $(VENV)-lens3.txt
