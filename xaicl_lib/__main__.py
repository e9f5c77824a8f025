"""`python -m xaicl_lib`: the command line."""

import sys

from xaicl_lib.cli import program

if __name__ == "__main__":
    sys.exit(program())
