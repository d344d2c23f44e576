# make lab    everything a newcomer needs: environment, installation, JupyterLab in lessons/
# make test   the same set-up, then every test and every lesson in profile ci
# Windows: use environment.yml with conda, then `ganlab lab`.
SHELL = /bin/sh
VENV ?= .venv
PYTHON = $(VENV)/bin/python
STAMP = $(VENV)/.ganlab-installed
QUIET = $(if $(findstring s,$(firstword -$(MAKEFLAGS))),--quiet)
# Threads that sleep while they wait: small networks gain nothing from many, and shared machines stay usable.
TESTING = OMP_WAIT_POLICY=PASSIVE MPLBACKEND=$${MPLBACKEND:-agg} OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(1)}
# Processes that share the tests, with a thread each.
WORKERS ?= 2

.PHONY: gpu homework-stress help setup lab test test-all prove colab lessons bench quality constraints clean
help:
	@echo "make lab       open the lessons in JupyterLab"
	@echo "make test      style, types, all tests, and every lesson in profile ci"
	@echo "make test-all  the same, then every lesson through papermill (results in runs/)"
	@echo "make colab     an environment with Colab's versions, for the browser test that needs it"
	@echo "make prove     the homework's reference solutions with twenty seeds; right answers of other kinds, trained"
	@echo "make lessons   run every lesson in profile laptop and keep its cleaned output"
	@echo "make bench     speed of training;  make quality: what the models reach on MNIST"
	@echo "make gpu       tests and speed that need an NVIDIA card"
	@echo "make homework-stress  two hundred hand-ins graded, killed and resumed (a quarter of an hour)"
	@echo "make clean     remove the environments, caches and runs (downloaded data stays)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@if ! $(PYTHON) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  old= new= found=; \
	  for name in python3.13 python3.12 python3.11 python3 python; do \
	    command -v $$name >/dev/null 2>&1 || continue; \
	    if ! $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      old="$$old $$name ($$($$name -V 2>&1 | head -n 1))"; \
	    elif ! $$name -c 'import ensurepip, venv' 2>/dev/null; then \
	      new="$$new $$name"; \
	    else \
	      found=$$name; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ] && [ -n "$$new" ]; then \
	    echo "Found$$new, but without the venv module. On Debian or Ubuntu: sudo apt install python3-venv" >&2; \
	    exit 1; \
	  elif [ -z "$$found" ]; then \
	    echo "ganlab needs Python 3.11 or newer; found:$${old:- no python at all}." >&2; \
	    echo "Install one (python.org, your package manager, or conda with environment.yml) and try again." >&2; \
	    exit 1; \
	  fi; \
	  echo "Creating $(VENV) with $$($$found -V)"; \
	  $$found -m venv --clear $(VENV) || exit 1; \
	fi
	@echo "Installing ganlab and what it needs; the first time this takes some minutes."
	@$(PYTHON) -m pip install $(QUIET) --disable-pip-version-check -c constraints.txt -e ".[all]"
	@$(PYTHON) -m compileall -q ganlab tests || true
	@touch $@

lab: $(STAMP)
	@$(PYTHON) -m ganlab lab

test: $(STAMP)
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(call TESTING,1) GANLAB_PROFILE=ci $(PYTHON) -m pytest tests $(wildcard lessons) --nbval-lax \
	  --nbval-current-env --numprocesses $(WORKERS) --no-loadscope-reorder

test-all: test
	@$(call TESTING,2) $(PYTHON) -m ganlab run --all --profile ci --out runs

# Colab's notebook, kernel and widgets of 2026; what they lack, torch above all, they find in $(VENV) after their own.
colab: .venv-colab/.ganlab-installed

.venv-colab/.ganlab-installed: tests/browser/colab.txt | $(STAMP)
	@$(PYTHON) -m venv --clear .venv-colab
	@.venv-colab/bin/python -m pip install $(QUIET) --disable-pip-version-check -r tests/browser/colab.txt
	@packages='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	  $(PYTHON) -c "$$packages" > "$$(.venv-colab/bin/python -c "$$packages")/after-its-own.pth"
	@touch $@

prove: $(STAMP)
	@$(call TESTING,2) GANLAB_SEEDS=20 $(PYTHON) -m pytest tests/homework/test_assignments.py

lessons: $(STAMP)
	@$(PYTHON) -m ganlab run --all --profile laptop --out runs --update

bench: $(STAMP)
	@$(PYTHON) benchmarks/speed.py

# What only an NVIDIA card can show: recorded steps, speed, memory within the limits, where the time of large batches goes.
gpu: $(STAMP)
	@$(PYTHON) -m pytest -q tests/test_cuda.py
	@failed=0; for more in "" "--compile graphs" --compile "--compile graphs --try-kernels --channels-last"; do \
	  for work in gan cgan wgangp dcgan pix2pix cyclegan ugatit-light ugatit; do \
	    $(PYTHON) benchmarks/speed.py $$work $$more || failed=1; done; done; exit $$failed
	@$(PYTHON) benchmarks/speed.py ugatit --recompute --compile graphs --memory 14 --precision float32 --account
	@$(PYTHON) benchmarks/speed.py ugatit-light --recompute --compile graphs --memory 6 --precision float32 --account
	@$(PYTHON) benchmarks/speed.py dcgan --batch-size 1024 --precision bf16 --account
	@$(PYTHON) benchmarks/speed.py ugatit --batch-size 16 --recompute --precision bf16 --account

quality: $(STAMP)
	@$(call TESTING,2) $(PYTHON) benchmarks/quality.py

# After a deliberate upgrade, with every test passed: write down what was tested.
constraints: $(STAMP)
	@$(PYTHON) -m pip list --format=freeze --exclude-editable \
	  | grep -v -E '^(nvidia-|cuda-|triton=|pip=)' > constraints.new && mv constraints.new constraints.txt

homework-stress: $(STAMP)
	@$(PYTHON) benchmarks/grading.py

clean:
	rm -rf $(VENV) .venv-colab runs lessons/runs homework/runs homework/*/runs build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
