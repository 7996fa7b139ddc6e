"""The one error that is raised on purpose."""


class BackendMissing(Exception):
    """A backend's library or model is not there. The message says what to install."""
