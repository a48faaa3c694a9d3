"""The Python blocks of docs/serving.md, against a running server."""

import re
from pathlib import Path

import pytest
from tiny import CORPUS

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=["openai", "langchain", "llama_index"])
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_blocks_run(serve, encoder, folder, code):
    for package in ("langchain_openai", "llama_index.embeddings.openai"):
        if package in code:
            pytest.importorskip(package)
    encoder.fit_context(CORPUS).save(folder / "manual")
    served = serve()
    assert "http://127.0.0.1:8000" in code
    names = {}
    exec(compile(code.replace("http://127.0.0.1:8000", served.url), str(PAGE), "exec"), names)
    assert names.get("hits", [1])
    assert names.get("nodes", [1])
