"""What starts it all on one machine: embedded Postgres and Redis, api, worker, reconciler, demo."""
