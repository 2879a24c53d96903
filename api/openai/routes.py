"""All routes under ``/v1``, router by router."""

from api.openai import events, files, jobs, models, unserved

ROUTERS = (files.router, jobs.router, events.router, unserved.router, models.router)
