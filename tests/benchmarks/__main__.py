"""``python -m tests.benchmarks``: measure everything and print the tables."""

from tests.benchmarks.run import main

if __name__ == "__main__":
    raise SystemExit(main())
