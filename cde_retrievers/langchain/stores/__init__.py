"""Supported LangChain vector stores. To add one, write a `StoreKind` in a module here and list it in `registry.py`."""
