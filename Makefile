# make chat   a conversation with a small model, from a fresh clone
# make test   every test, from a fresh clone
# make kernels  the GPU kernels alone: run by Triton's interpreter, and compiled for every target, without a GPU
# make conformance  other people's testers and clients of the APIs, those for JavaScript too
# make ui     the web page in a Chromium: what a person sees and does
# make sanitize  the native library with its memory and its arithmetic watched, and its pool of threads
# make neon   the native library's ARM kernels, cross-compiled and compared in an emulator
# make mac    the native library for macOS on Apple silicon, cross-compiled
# make resolve  whether the package index has all of constraints.txt, and for whom

PYTHON ?= python3
VENV ?= .venv
MODEL ?= smollm2-135m
# Where `image` installs.
PREFIX ?= /opt/llmrt
MODELS ?= /models

PIP = $(VENV)/bin/python -m pip --disable-pip-version-check --quiet
RUNTIME = $(VENV)/.installed
TESTING = $(VENV)/.installed-test

# The environment that llama.cpp is measured in.
PEERS ?= .venv-peers
BENCHING = $(VENV)/.installed-bench

# The environment of the testers and clients of `make conformance`.
CONFORMANCE ?= .venv-conformance

# The environment's mark for `make ui`.
DRIVING = $(VENV)/.installed-ui

.PHONY: chat serve test kernels ui conformance lint format types sanitize neon mac resolve image clean peers compare report

# With PROMPT, or with input from a pipe, it answers and exits. Greedy, so that the answer is the same every time.
chat: $(RUNTIME)
	@$(VENV)/bin/llmrt chat $(MODEL) --temperature 0 $(if $(PROMPT),--prompt "$(PROMPT)")

serve: $(RUNTIME)
	@$(VENV)/bin/llmrt serve $(MODEL)

# Most tests keep one core busy, so two processes share them.
SHARED = --numprocesses 2 --dist worksteal

test: lint types kernels
	$(VENV)/bin/python -m pytest $(SHARED) --ignore tests/triton

# Interpreted and compiled apart: Triton interprets all kernels of a process or none. There is no Triton but for Linux.
kernels: $(TESTING)
ifeq ($(shell uname), Linux)
	TRITON_INTERPRET=1 $(VENV)/bin/python -m pytest $(SHARED) tests/triton/interpreted
	$(VENV)/bin/python -m pytest tests/triton/compiled
else
	@echo "The GPU kernels are not tested: Triton is for Linux."
endif

ui: $(DRIVING)
	$(VENV)/bin/python -m pytest tests/browser

$(DRIVING): $(TESTING)
	@$(PIP) install --constraint constraints.txt --editable '.[ui]'
	@touch $@

conformance: $(TESTING) $(CONFORMANCE)/.installed
	LLMRT_BIN=$(VENV)/bin $(CONFORMANCE)/bin/python -m pytest -c tests/conformance/pytest.ini tests/conformance

$(CONFORMANCE)/.installed: tests/conformance/requirements.txt
	@$(PYTHON) -m venv $(CONFORMANCE)
	$(CONFORMANCE)/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@

lint: $(TESTING)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/hadolint Dockerfile

types: $(TESTING)
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

format: $(TESTING)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "llmrt needs Python 3.11 to 3.14; this is %d.%d. Name another with PYTHON=python3.14." % sys.version_info[:2])'
	@echo "Making the environment in $(VENV) (once; torch is the large part)"
	@$(PYTHON) -m venv $(VENV)

# Python describes calls by the native library's structs: with a library of older sources they would be misread.
$(RUNTIME): $(VENV)/bin/python pyproject.toml constraints.txt kernels/CMakeLists.txt $(wildcard kernels/csrc/*.* kernels/csrc/*/*.*)
	@echo "Installing what llmrt needs and compiling its native kernels (some minutes)"
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(TESTING): $(RUNTIME)
	@$(PIP) install --constraint constraints.txt --editable '.[test]'
	@touch $@

# llama.cpp, built from source for this processor: its library and its server; half an hour.
peers: $(PEERS)/.installed $(PEERS)/bin/llama-server

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	@$(PYTHON) -m venv $(PEERS)
	CMAKE_ARGS="-DGGML_NATIVE=ON" $(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install \
		--no-binary llama-cpp-python --requirement $<
	@touch $@

# Its server is in the same source package, which builds the library alone.
$(PEERS)/bin/llama-server: $(PEERS)/.installed
	$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet download --no-deps --no-binary llama-cpp-python \
		--dest build/llama.cpp $$(grep llama-cpp-python benchmarks/peers/requirements.txt)
	tar --extract --gzip --strip-components 1 --directory build/llama.cpp --file build/llama.cpp/llama_cpp_python-*.tar.gz
	cmake -S build/llama.cpp/vendor/llama.cpp -B build/llama.cpp/build -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
		-DBUILD_SHARED_LIBS=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF \
		-DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_SUBPROCESS=OFF
	cmake --build build/llama.cpp/build --parallel --target llama-server llama-quantize
	cp build/llama.cpp/build/bin/llama-server build/llama.cpp/build/bin/llama-quantize $(PEERS)/bin/

# Every figure of README.md beside llama.cpp: half an hour on an idle machine.
compare: $(RUNTIME) peers
	$(VENV)/bin/python -m benchmarks.compare --peer-python $(PEERS)/bin/python
	$(VENV)/bin/python -m benchmarks.startup --peer-python $(PEERS)/bin/python
	$(VENV)/bin/python -m benchmarks.sharing
	$(VENV)/bin/python -m benchmarks.load --llama-server $(PEERS)/bin/llama-server

report: $(BENCHING)
	$(VENV)/bin/python -m benchmarks.report

$(BENCHING): $(RUNTIME)
	@$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

# Python itself is not built so: the sanitizer has to be loaded before it, and then finds no exceptions of C++ by itself.
SANITIZED = cmake -S kernels -DCMAKE_BUILD_TYPE=Sanitized
PRELOADED = $$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)
NATIVE_TESTS = tests/kernels/test_cpu_linear.py tests/kernels/test_cpu_moe.py tests/kernels/test_lora.py

sanitize: $(TESTING)
	$(SANITIZED) -B build/address -DCMAKE_CXX_FLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -g1"
	cmake --build build/address --parallel --target compare_isas
	build/address/compare_isas
	LD_PRELOAD="$(PRELOADED)" ASAN_OPTIONS=detect_leaks=0 LLMRT_NATIVE=build/address \
	  $(VENV)/bin/python -m pytest -p tests.other_library $(NATIVE_TESTS)
	$(SANITIZED) -B build/thread -DCMAKE_CXX_FLAGS="-fsanitize=thread -g1"
	cmake --build build/thread --parallel --target late_thread
	build/thread/late_thread

neon:
	@for tool in cmake aarch64-linux-gnu-g++ qemu-aarch64; do command -v $$tool > /dev/null || { \
	  echo "make neon needs $$tool; on Debian: apt-get install cmake g++-aarch64-linux-gnu qemu-user"; exit 1; }; done
	cmake -S kernels -B build/neon -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
	cmake --build build/neon --target compare_isas
	qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/compare_isas

# Zig's compiler is Clang with what macOS's programs are linked with; it has names of its own for instruction sets.
mac: $(VENV)/bin/python
	@$(PIP) install --constraint constraints.txt ziglang
	CXX="$(abspath $(VENV)/bin/python) -m ziglang c++ -target aarch64-macos" \
	  cmake -S kernels -B build/mac -DCMAKE_SYSTEM_NAME=Darwin -DCMAKE_SYSTEM_PROCESSOR=arm64 \
	  -DNEON_DOTPROD=-mcpu=generic+dotprod -DNEON_I8MM=-mcpu=generic+dotprod+i8mm
	cmake --build build/mac --parallel --target llmrt_cpu compare_isas late_thread

# The index's torch for Linux asks for one version of Triton, which a torch for processors alone does not.
resolve: $(VENV)/bin/python
	@$(PIP) install --constraint constraints.txt uv
	@for system in x86_64-manylinux_2_36 aarch64-manylinux_2_36 aarch64-apple-darwin; do for version in 3.11 3.12 3.13 3.14; do \
	  MACOSX_DEPLOYMENT_TARGET=14.0 $(VENV)/bin/python -m uv pip compile --quiet --no-config --system-certs --no-build \
	    --default-index https://pypi.org/simple --constraint constraints.txt --extra test --extra bench \
	    --python-platform $$system --python-version $$version pyproject.toml > /dev/null || exit 1; \
	  echo "$$system, Python $$version: all packages"; done; done

# For the Dockerfile: an environment that does not need the checkout, and the folder that becomes the volume.
image:
	$(PYTHON) -m venv $(PREFIX)
	$(PREFIX)/bin/python -m pip install --no-cache-dir --disable-pip-version-check --quiet --constraint constraints.txt .
	mkdir -p $(MODELS)

clean:
	rm -rf $(VENV) $(PEERS) $(CONFORMANCE) build dist .pytest_cache .ruff_cache
