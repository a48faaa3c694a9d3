"""Embeddings over HTTP, as OpenAI's API has them: a model's name there is a context's name here."""
