"""`python -m lure_cli`."""

from lure_cli.cli import main

if __name__ == "__main__":
    main()
