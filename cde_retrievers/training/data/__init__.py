"""Training pairs: read from files and data sets or made from documents, and described before training."""
