"""The one error that is raised on purpose."""


class BackendMissing(Exception):
    """A library or a model that was asked for is not there. The message says what to install."""
