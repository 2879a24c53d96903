"""Make the database ready before anything starts: the schema up to date, the first key let in.

Runs once per start of the compose installation and may run again at any time.
"""

import os

from neftune_store.db import make_engine, migrate, unit_of_work
from neftune_store.projects import ALL_SCOPES, ProjectLedger

if __name__ == "__main__":
    url = os.environ["DATABASE_URL"]
    migrate(url)
    engine = make_engine(url, pool_size=1, application_name="prepare")
    with unit_of_work(engine) as session:
        projects = ProjectLedger(session)
        first = projects.ensure_default().id
        projects.ensure_key(os.environ["NEFTUNE_API_KEY"], first, "compose", ALL_SCOPES)
    engine.dispose()
