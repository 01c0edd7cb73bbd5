"""Settings for optional calls to AWS: a run neither waits long for them nor fails when they fail."""

from __future__ import annotations

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: Short timeouts, for services that cannot be reached, as in a private network without an endpoint for them.
SHORT_TIMEOUTS = Config(
    connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"}
)
#: Errors for no permission and for no response.
CALL_ERRORS = (ClientError, BotoCoreError)
