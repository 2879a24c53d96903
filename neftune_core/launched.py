"""What a launcher said in this process's environment: which of how many processes it is.

``torchrun`` and ``accelerate launch`` speak the same names. Light: no torch is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from neftune_core.errors import SpecError


@dataclass(frozen=True)
class Place:
    """This process among those of one job; ``local`` counts those of this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def leads(self) -> bool:
        """Tell whether this process is the one that reports and writes."""
        return self.rank == 0


def place_in(environment: Mapping[str, str]) -> Place:
    """Read the launcher's words; without any, or with a world of one, this process is alone."""
    if environment.get("WORLD_SIZE", "1") == "1":
        return Place()
    try:
        place = Place(*(int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    except (KeyError, ValueError) as error:
        raise SpecError(
            "WORLD_SIZE speaks of several processes, but RANK or LOCAL_RANK is missing or no number; "
            "start them with torchrun or accelerate launch."
        ) from error
    if not 0 <= place.local <= place.rank < place.world:
        raise SpecError(f"Rank {place.rank} (local {place.local}) of {place.world} processes cannot be.")
    return place
