"""`python -m tunemill`."""

from tunemill.cli import main

if __name__ == "__main__":
    main()
