"""How far an evaluation is, put together from what its runner and its judge say on the way. Pure."""

from neftune_core.messages import Event


class Stage:
    """What was said last, in the words in which a job's progress is shown."""

    def __init__(self) -> None:
        self._parts = self._done = 0
        self._part: str | None = None
        self._inside: tuple[int, int | None] | None = None  # of the part under way

    def told(self, said: Event) -> dict[str, object]:
        """Take the next word; give how far it is."""
        data = said.data
        match said.name:
            case "evaluation.planned":
                parts = data.get("parts")
                self._parts = len(parts) if isinstance(parts, list) else 0
                self._done = _number(data.get("done"))
            case "evaluation.part":
                self._done, self._parts = _number(data.get("number")), _number(data.get("of"))
                self._part, self._inside = None, None
            case "judge.progressed":
                self._part = "judge"
                self._inside = (_number(data.get("answered")), _number(data.get("of")))
            case _:
                self._part = str(data.get("name"))
                self._inside = (_number(data.get("done")), _number(data.get("of")) or None)
        done, of = self._inside or (None, None)
        return {
            "step": self._done,
            "total_steps": self._parts,
            "part": self._part,
            "part_done": done,
            "part_of": of,
        }


def _number(given: object) -> int:
    return given if isinstance(given, int) and not isinstance(given, bool) else 0
