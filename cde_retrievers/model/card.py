"""The model card that goes to the hub with a model."""

from cde_retrievers.model.config import ContextualConfig

_CARD = """---
library_name: cde_retrievers
pipeline_tag: feature-extraction
tags:
- contextual-document-embeddings
- sentence-similarity
- retrieval
---

# {name}

A contextual embedding model (CDE; Morris and Rush, arXiv 2410.02525): documents and queries are embedded in the light
of a sample of the corpus they are searched in.

```python
from cde_retrievers import ContextualEncoder

encoder = ContextualEncoder.from_pretrained("{repository}")
context = encoder.fit_context(documents)
vectors = encoder.encode_documents(documents, context)
scores = encoder.encode_queries(queries, context) @ vectors.T
```

| | |
|---|---|
| backbone | {model_type}, {layers} layers, width {width} |
| conditioning | {conditioning} |
| context documents | {context_size} |
| tokens per text | {max_length} |
| query prompt | `{query_prompt}` |
| document prompt | `{document_prompt}` |
| fingerprint | `{fingerprint}` |
"""


def model_card(repository: str, config: ContextualConfig, fingerprint: str) -> str:
    """The card's Markdown, with how to use the model and what it is made of."""
    conditioning = config.conditioning.model_dump()
    options = ", ".join(f"{name} {value}" for name, value in conditioning.items() if name != "kind")
    return _CARD.format(
        name=repository.split("/")[-1],
        repository=repository,
        model_type=config.backbone["model_type"],
        layers=config.backbone["num_hidden_layers"],
        width=config.backbone["hidden_size"],
        conditioning=f"{conditioning['kind']} ({options})" if options else conditioning["kind"],
        context_size=config.context_size,
        max_length=config.max_length,
        query_prompt=config.query_prompt,
        document_prompt=config.document_prompt,
        fingerprint=fingerprint,
    )
