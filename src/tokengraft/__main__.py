"""`python -m tokengraft`: the command line."""

from __future__ import annotations

from tokengraft.cli import main

if __name__ == "__main__":
    main()
