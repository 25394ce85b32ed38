# Everything a newcomer needs: `make demo`, `make test`. See README.md.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
REFERENCES := $(VENV)/.references
OUT := out

.PHONY: demo test lint types unit parity references fuzz bench docs studies clean

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "archgraph needs Python 3.11 or later: make PYTHON=python3"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)
	@mkdir -p $(OUT)
	@echo; echo "== Does the gradient arrive? A residual network, and twenty sigmoid layers"
	@$(BIN)/archgraph residual
	@$(BIN)/archgraph mlp
	@echo; echo "== What would a skip around every five of them do? Nothing has run yet"
	@$(BIN)/archgraph suggest mlp --edit 'skip hidden every 5'
	@echo; echo "== The ways from x1 to the loss"
	@$(BIN)/archgraph paths residual --wrt x1
	@echo; echo "== What the gradient is made of"
	@$(BIN)/archgraph derive residual --wrt x1 --form nested
	@echo; echo "== The measured gradients, held against the sum over paths and the prediction"
	@$(BIN)/archgraph check residual
	@echo; echo "== Pictures"
	@$(BIN)/archgraph render residual --wrt x1 -o $(OUT)/residual.png
	@$(BIN)/archgraph render skip --wrt Z0 -o $(OUT)/skip.png
	@$(BIN)/archgraph render resnet -o $(OUT)/resnet.png

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP) references tests/katex/node_modules
	$(BIN)/pytest -q -n 2

# Each network of the zoo against the implementation that its spec cites.
parity: $(STAMP) references
	$(BIN)/python -m tests.parity

# Tests that need them are skipped, with the reason, where they cannot be installed.
references: $(STAMP)
	@$(MAKE) --silent $(REFERENCES) || echo "no references: the zoo is not held against them"

# Without dependencies, torchvision would replace torch by the build for CUDA.
$(REFERENCES): $(STAMP) constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps torchvision pillow
	$(BIN)/pip install --quiet --constraint constraints.txt transformers
	touch $@

# New random examples, where `make test` draws the same ones every time.
fuzz: $(STAMP)
	ARCHGRAPH_FUZZ=1 $(BIN)/pytest -q -n 2 tests

tests/katex/node_modules: tests/katex/package.json
	cd tests/katex && { command -v npm >/dev/null && npm ci --silent || echo "no npm: the LaTeX test is left out"; }

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# docs/path_counts.md, and specs/zoo.json, which `archgraph zoo` lists; docs/predictions.md takes
# a few minutes.
docs: $(STAMP)
	$(BIN)/python -m benchmarks.path_counts
	$(BIN)/python -m benchmarks.predictions
	$(BIN)/archgraph render residual --wrt x1 -o docs/pictures/residual.png
	$(BIN)/archgraph compare gradient_flow_demo --set act=ReLU,LeakyReLU,Tanh,Sigmoid --batch 32 \
		-o docs/pictures/activations.png

# docs/studies.md, with its results and pictures: a few minutes.
studies: $(STAMP)
	$(BIN)/python -m benchmarks.studies

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info tests/katex/node_modules
