"""How much a dataset may hold."""

from dataclasses import dataclass

from neftune_core.rows_faults import FAULTS_TOLD


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one dataset; rows and bytes as JSON lines where the file is another layout."""

    max_bytes: int = 2 * 1024**3
    max_rows: int = 2_000_000
    max_row_bytes: int = 1024**2
    faults_told: int = FAULTS_TOLD
