"""Contextual models: two stages of weights and the three ways in which a context conditions them."""
