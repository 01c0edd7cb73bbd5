"""Calls to AWS whose answer a run can do without: it must neither wait long for them nor fail by them."""

from __future__ import annotations

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

#: Where there is no way to a service, as in a private network without an endpoint for it, nobody waits a minute.
IMPATIENT = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 3, "mode": "standard"})
#: No permission, or no answer.
NO_ANSWER = (ClientError, BotoCoreError)
