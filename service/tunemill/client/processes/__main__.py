"""`python -m tunemill.client.processes`, started by `process` with a socket as its standard input."""

from tunemill.client.processes.serving import main

if __name__ == "__main__":
    main()
