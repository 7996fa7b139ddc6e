"""For every test: nothing here may talk to anybody but this machine, and no property fails for being slow."""

import ipaddress
import sys
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from tests.support import groups, torture, warm

# No deadline: the machine may be busy with something else. Fewer examples than usual, which are others every time.
hypothesis.settings.register_profile("tunemill", deadline=None, max_examples=50)
hypothesis.settings.load_profile("tunemill")

_forbidden: list[str] = []


def _is_loopback(address: object) -> bool:
    """Whether an address of `connect` or `sendto` stays on this machine: a path (Unix), or a loopback host."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def _guard(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto"} and not _is_loopback(arguments[1]):
        _forbidden.append(f"{event} to {arguments[1]!r}")
        raise ConnectionRefusedError(f"tests talk to loopback only, not to {arguments[1]!r}")


# An audit hook sees every socket of the process, whoever made it. It cannot be taken away again, and need not be.
sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def only_loopback() -> Iterator[list[str]]:
    """Fail the test that tried to reach another machine, also where the code under test made a value of the refusal."""
    _forbidden.clear()
    yield _forbidden
    if _forbidden:
        pytest.fail(f"tried to reach another machine: {_forbidden}")


def pytest_configure(config: pytest.Config) -> None:
    """See `tests.support.torture` and `tests.support.warm`."""
    torture.choose_seed(config.option.markexpr)
    if not hasattr(config, "workerinput"):
        warm.begin_session()


def pytest_unconfigure(config: pytest.Config) -> None:
    """See `tests.support.warm`."""
    if not hasattr(config, "workerinput"):
        warm.end_session()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """See `tests.support.groups`."""
    return groups.scheduler(config, log)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say the seed where it is a new one each time."""
    if session.config.option.markexpr == torture.MARKER and not hasattr(session.config, "workerinput"):
        print(f"{torture.VARIABLE}={torture.seed()}", file=sys.stderr)


@pytest.fixture
def torture_seed() -> int:
    """What a test draws its cases from; a failure says how to repeat it."""
    return torture.seed()


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> torture.Figures:
    """Where a test says what it measured."""
    return torture.Figures(request.node.nodeid, request.node.user_properties)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with every failure of a seeded test how to repeat it."""
    report = yield
    if report.failed and "torture_seed" in getattr(item, "fixturenames", ()):
        report.sections.append(("repeat it with", torture.how_to_repeat(item.nodeid)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, as data."""
    for line in torture.figures_of(terminalreporter.getreports("passed") + terminalreporter.getreports("failed")):
        terminalreporter.write_line(line)
