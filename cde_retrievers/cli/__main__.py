"""`python -m cde_retrievers.cli`."""

from cde_retrievers.cli import main

if __name__ == "__main__":
    main()
