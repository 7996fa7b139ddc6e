"""Friday's run on the manifests' terms, with this checkout's command; `make drill` does it with the image."""

import pytest
from deploy.rehearse.drill import drill
from deploy.rehearse.runtimes import Processes


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_fridays_run_survives_the_weekend() -> None:
    """Evicted, killed, without a provider, out of money and finished: every row once, and both books agree."""
    drill(Processes())
