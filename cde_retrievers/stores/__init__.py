"""Collections of vector databases by their own clients, their refit, and sparse rows beside one that keeps none.

All framework adapters share these.
"""
