"""`python -m rlbench` is `rlbench`."""


def start() -> None:
    """Run the command line; Ctrl-C while it is still being imported is no error either."""
    try:
        from rlbench.cli import main

        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    start()
