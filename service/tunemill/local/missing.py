"""The one error that is raised on purpose."""


class BackendMissing(Exception):
    """A library, a model or a file that was asked for is not there. The message says what to install."""
