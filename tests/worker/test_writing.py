"""What a supervisor stores and commits in its own name: safe from the collector, as much as was asked."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from neftune_store.blobs import Blobs, blob_key
from neftune_store.checkpoints import CheckpointFile
from neftune_store.settings import StoreSettings
from tests.factories import make_claim, make_job
from worker.publish import Shelf, fingerprint
from worker.writer import RunWriter


def test_what_is_about_to_be_named_is_taken_off_the_list_before_it_is_looked_at(
    engine: Engine, tmp_path: Path
) -> None:
    # Given bytes that are there, and condemned since nobody names them
    path = tmp_path / "w"
    path.write_bytes(b"weights")
    settings = StoreSettings(database_url="postgresql://x", storage_url=f"file://{tmp_path}/blobs")
    key = blob_key("prj_x", fingerprint(path)[0])
    seen: list[int] = []

    class Watched(Blobs):
        def put_file(self, key: str, path: Path) -> None:
            with engine.connect() as connection:
                seen.append(connection.execute(text("SELECT count(*) FROM condemned_blobs")).scalar_one())
            super().put_file(key, path)

    blobs = Watched.open(settings)
    Blobs.put_file(blobs, key, path)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO condemned_blobs (blob_key) VALUES (:key)"), {"key": key})
    # When a run stores them, then the collector has let go of them first
    stored = Shelf(engine, blobs, "prj_x").put(path)
    assert seen == [0]
    assert (stored.blob_key, stored.bytes, blobs.exists(key)) == (key, 7, True)


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_checkpoints_are_kept_as_the_spec_asks_for(engine: Engine, keep: int) -> None:
    make_job(engine, training={"keep_checkpoints": keep})
    writer = RunWriter(engine, make_claim(engine))
    for step in range(1, 6):
        writer.checkpoint(step, [CheckpointFile("w", "0" * 64, 1, f"key-{step}")])
    kept = text("SELECT step FROM checkpoints WHERE dropped_at IS NULL ORDER BY step")
    with engine.connect() as connection:
        assert list(connection.execute(kept).scalars()) == [1, 2, 3, 4, 5][-keep:]
