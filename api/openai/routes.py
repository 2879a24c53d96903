"""All routes under ``/v1``, router by router."""

from api.openai import chat, events, files, jobs, models, unserved, uploads

ROUTERS = (
    files.router,
    uploads.router,
    jobs.router,
    events.router,
    unserved.router,
    models.router,
    chat.router,
)
