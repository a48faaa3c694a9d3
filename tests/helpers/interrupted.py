"""The command line, which Ctrl-C reaches when a batch of documents is about to be embedded.

python interrupted.py BATCH ARGUMENTS...    the number of that batch, and the arguments of cde-retrievers
"""

import os
import signal
import sys

from cde_retrievers import ContextualEncoder
from cde_retrievers.cli import main

if __name__ == "__main__":
    batches, encode = iter(range(int(sys.argv.pop(1)) - 1, -1, -1)), ContextualEncoder.encode_documents

    def encode_or_interrupt(self, *arguments, **options):
        if next(batches, None) == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return encode(self, *arguments, **options)

    ContextualEncoder.encode_documents = encode_or_interrupt
    main()
