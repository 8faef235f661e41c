"""Memory that was freed waits for its next use."""

import subprocess
import sys

CODE = """
import resource, sys
from synthbank.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * (64 << 20)
    del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken = sys.argv[1] == "kept" and keep_freed_memory()
faults()
print(int(taken), faults())
"""


def pages_cleared(word):
    out = subprocess.run([sys.executable, "-c", CODE, word], check=True, capture_output=True, text=True, timeout=60)
    return tuple(map(int, out.stdout.split()))


def test_the_second_large_block_costs_no_new_pages():
    (_, given_back), (taken, kept) = pages_cleared("given back"), pages_cleared("kept")
    if taken:  # glibc
        assert kept < given_back / 10
    else:
        assert kept == given_back
