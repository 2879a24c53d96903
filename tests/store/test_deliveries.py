"""Which delivery is next, for how long it is held, and who may still say how it went."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from neftune_store.db import unit_of_work
from neftune_store.errors import TooManyWebhooks
from neftune_store.sealing import Sealer
from neftune_store.webhooks import (
    ENDS,
    FIRST_REST,
    HELD,
    MOST,
    PATIENCE,
    Delivery,
    Errand,
    Webhook,
    WebhookLedger,
    heard,
    not_heard,
    seal_anew,
    take,
)
from tests.factories import make_project


@pytest.fixture
def project(engine: Engine) -> str:
    return make_project(engine).id


def add(engine: Engine, project: str, host: str) -> Webhook:
    with unit_of_work(engine) as session:
        return WebhookLedger(session).add(project, f"https://{host}/", ENDS)[0]


def tell(engine: Engine, project: str, webhook: Webhook) -> None:
    with unit_of_work(engine) as session:
        WebhookLedger(session).test(project, webhook.id)


def told(engine: Engine, project: str, webhook: Webhook) -> list[Delivery]:
    with unit_of_work(engine) as session:
        return list(WebhookLedger(session).deliveries(project, webhook.id).items)


def taken(engine: Engine) -> Errand | None:
    with unit_of_work(engine) as session:
        return take(session)


def test_a_secret_is_sealed_where_there_is_a_key(engine: Engine, project: str) -> None:
    sealer, other = (Sealer([bytes([number]) * 32]) for number in (1, 2))
    before = add(engine, project, "before")  # when there was no key yet
    with unit_of_work(engine) as session:
        sealed, secret = WebhookLedger(session, sealer).add(project, "https://now/", ENDS)
    with engine.connect() as line:
        assert secret not in str(line.execute(text("SELECT * FROM webhooks")).all())

    for webhook in (before, sealed):
        tell(engine, project, webhook)
    with unit_of_work(engine) as session:
        first, last = take(session, other), take(session, other)
    assert first is not None
    assert first.url == "https://before/"
    assert last is None
    # What a wrong key can't open rests, and is told of
    (resting,) = told(engine, project, sealed)
    assert (resting.last_error, resting.given_up_at) == ("secret_unreadable", None)
    pass_time(engine, FIRST_REST)
    with unit_of_work(engine) as session:
        again = take(session, sealer)
    assert again is not None
    assert (again.url, again.secret, again.attempt) == ("https://now/", secret, 2)
    # An older one is sealed with the others
    with unit_of_work(engine) as session:
        assert [seal_anew(session, sealer) for _ in range(2)] == [1, 0]
    with engine.connect() as line:
        assert line.scalars(text("SELECT secret FROM webhooks WHERE secret LIKE 'whsec%'")).all() == []
    pass_time(engine, HELD)
    with unit_of_work(engine) as session:
        errand = take(session, sealer)
    assert errand is not None
    assert errand.secret.startswith("whsec_")


def pass_time(engine: Engine, passed: timedelta) -> None:
    """Let everything be as if so much time had gone by."""
    with engine.begin() as connection:
        told = text("UPDATE deliveries SET due_at = due_at - :t, created_at = created_at - :t")
        connection.execute(told, {"t": passed})


def test_one_that_never_answers_keeps_nobody_waiting_however_much_it_is_to_be_told(
    engine: Engine, project: str
) -> None:
    # Given a webhook with many things to be told, of which some are on their way, and two others
    dead = add(engine, project, "dead")
    for _ in range(20):
        tell(engine, project, dead)
    assert [taken(engine).url for _ in range(3)] == ["https://dead/"] * 3
    others = [add(engine, project, "well"), add(engine, make_project(engine).id, "else")]
    tell(engine, project, others[0])
    with unit_of_work(engine) as session:
        WebhookLedger(session).test(_project_of(engine, others[1]), others[1].id)
    # Then these are told at once
    assert [taken(engine).url for _ in range(2)] == ["https://well/", "https://else/"]
    # and after it was tried in vain too
    pass_time(engine, HELD)
    errand = taken(engine)
    with unit_of_work(engine) as session:
        not_heard(session, errand, "timeout")
    tell(engine, project, others[0])
    assert taken(engine).url in {"https://well/", "https://else/"}


def _project_of(engine: Engine, webhook: Webhook) -> str:
    with engine.connect() as connection:
        found = text("SELECT project_id FROM webhooks WHERE id = :id")
        return str(connection.execute(found, {"id": webhook.id}).scalar_one())


def test_what_is_taken_is_held_and_comes_due_again(engine: Engine, project: str) -> None:
    webhook = add(engine, project, "host")
    tell(engine, project, webhook)
    first = taken(engine)
    assert taken(engine) is None
    pass_time(engine, HELD - timedelta(seconds=5))
    assert taken(engine) is None
    pass_time(engine, timedelta(seconds=5))
    again = taken(engine)
    assert (again.event_id, again.attempt) == (first.event_id, 2)


def test_who_was_too_late_says_nothing_about_it(engine: Engine, project: str) -> None:
    # Given a delivery that another sender has taken since
    webhook = add(engine, project, "host")
    tell(engine, project, webhook)
    slow = taken(engine)
    pass_time(engine, HELD)
    quick = taken(engine)
    (before,) = told(engine, project, webhook)
    # When the first one notes how it went, then nothing changes
    with unit_of_work(engine) as session:
        heard(session, slow, 200)
        not_heard(session, slow, "timeout")
    assert told(engine, project, webhook) == [before]
    with unit_of_work(engine) as session:
        heard(session, quick, 204)
    (after,) = told(engine, project, webhook)
    assert (after.due_at, after.last_status) == (None, 204)
    assert after.delivered_at is not None


def test_after_three_days_it_is_given_up(engine: Engine, project: str) -> None:
    webhook = add(engine, project, "host")
    tell(engine, project, webhook)
    for passed, given_up in ((PATIENCE - timedelta(minutes=1), False), (timedelta(minutes=2), True)):
        pass_time(engine, passed)
        with unit_of_work(engine) as session:
            not_heard(session, take(session), "status", 500)
        (one,) = told(engine, project, webhook)
        assert (one.given_up_at is not None, one.due_at is None) == (given_up, given_up)
        assert (one.last_status, one.last_error) == (500, "status")
    assert taken(engine) is None


def test_a_webhook_that_is_gone_is_told_nothing(engine: Engine, project: str) -> None:
    webhook = add(engine, project, "host")
    tell(engine, project, webhook)
    with engine.begin() as connection:  # between the end of a job and its commit, say
        connection.execute(text("UPDATE webhooks SET deleted_at = clock_timestamp()"))
    assert taken(engine) is None
    with engine.connect() as connection:
        left = connection.execute(text("SELECT due_at, last_error FROM deliveries")).one()
    assert tuple(left) == (None, "deleted")


def test_a_project_has_so_many_webhooks_and_no_more(engine: Engine, project: str) -> None:
    for number in range(MOST):
        add(engine, project, f"host-{number}")
    with pytest.raises(TooManyWebhooks):
        add(engine, project, "one-more")
    add(engine, make_project(engine).id, "of-another")


def test_two_that_are_added_at_once_are_counted_both(engine: Engine, project: str) -> None:
    for number in range(MOST - 1):
        add(engine, project, f"host-{number}")
    # Given one that is added and not yet committed
    with ThreadPoolExecutor(1) as beside:
        with unit_of_work(engine) as session:
            WebhookLedger(session).add(project, "https://last/", ENDS)
            late = beside.submit(add, engine, project, "one-more")
            with pytest.raises(TimeoutError):
                late.result(0.5)  # it waits for how that ends
        # Then the other one is too many
        with pytest.raises(TooManyWebhooks):
            late.result(20)
