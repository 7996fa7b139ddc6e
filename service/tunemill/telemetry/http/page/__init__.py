"""The page that answers "is it all right?": what it shows, how it is kept fresh, and its files."""

from tunemill.telemetry.http.page.run_page import RunPage

__all__ = ["RunPage"]
