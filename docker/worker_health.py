"""Ask this container's worker whether it listens; exit 0 when it answers.

Asked through Redis, so a worker reads as unhealthy while Redis is away although its run goes on: nothing
is restarted for it, the state is for those who look.
"""

import os
import socket
import sys

from celery import Celery

if __name__ == "__main__":
    inspect = Celery(broker=os.environ["REDIS_URL"]).control.inspect(
        destination=[f"celery@{socket.gethostname()}"], timeout=5
    )
    sys.exit(not inspect.ping())
