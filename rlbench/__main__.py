"""`python -m rlbench` is `rlbench`."""

from rlbench.cli import main

if __name__ == "__main__":
    main()
