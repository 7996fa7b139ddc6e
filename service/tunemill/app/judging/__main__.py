"""`python -m tunemill.app.judging`, started by `process` with a socket as its standard input."""

from tunemill.app.judging.serving import main

if __name__ == "__main__":
    main()
