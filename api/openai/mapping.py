"""From the body of this surface to the JobSpec, and from the spec's faults back to the body's places.

Every rule about values is the spec's own. Here stands only which name means which field, and that two places
of one body must not ask for different things.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from api.openai.create_body import CreateJob, Hyperparameters, Varied
from api.openai.ids import PARENT
from api.refusals import ConflictingFields, InvalidRequest, InvalidSpec
from neftune_core.spec import JobSpec
from neftune_core.spec_faults import Fault, faults_of
from neftune_core.sweep_spec import SweepSpec

_ALPHA = "neftune_alpha"
_DECIMAL = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,24})?")

Place = tuple[str, ...]


def spec_of(wanted: CreateJob, dataset: str, validation: str | None) -> JobSpec:
    """Give the spec that the body asks for, its files named natively."""
    return _drafted(wanted, dataset, validation).finished()


def series_of(wanted: CreateJob, varied: Varied, dataset: str, validation: str | None) -> SweepSpec:
    """Give the series that the body asks for; what it varies stands nowhere else in it."""
    return _drafted(wanted, dataset, validation).finished_as_series(
        varied.model_dump(exclude_none=True, exclude_unset=True)
    )


def _drafted(wanted: CreateJob, dataset: str, validation: str | None) -> "_Draft":
    draft = _Draft(wanted.native or {})
    draft.put(("model",), wanted.model, ("model",))
    draft.put(("dataset",), dataset, ("training_file",))
    if validation is not None:
        draft.put(("validation", "dataset"), validation, ("validation_file",))
    if wanted.suffix is not None:
        draft.put(("name",), wanted.suffix, ("suffix",))
    if wanted.seed is not None:
        draft.put(("training", "seed"), wanted.seed, ("seed",))
    if wanted.metadata:
        draft.put(("metadata",), wanted.metadata, ("metadata",))
        _put_alpha_of_metadata(draft, wanted.metadata)
    if wanted.method is not None and wanted.method.supervised is not None:
        place = ("method", "supervised", "hyperparameters")
        _put_hyperparameters(draft, wanted.method.supervised.hyperparameters, place)
    if wanted.hyperparameters is not None:
        _put_hyperparameters(draft, wanted.hyperparameters, ("hyperparameters",))
    return draft


def multiplier_of(spec: JobSpec) -> float:
    """Give the learning rate as a multiple of what the job would have had without being told."""
    usual = _usual_learning_rate(spec.preset, spec.method)
    return float(f"{spec.training.learning_rate / usual:.12g}")  # 3e-4 / 1e-4 is not quite 3


class _Draft:
    """A spec in the making, which knows where in the body each of its fields stood."""

    def __init__(self, native: Mapping[str, Any]) -> None:
        self._fields: dict[str, Any] = dict(native)
        self._places: dict[Place, Place] = {}

    def put(self, field: Place, value: object, place: Place) -> None:
        """Set a field; one that is set already must be set to the same."""
        owner = self._fields
        for name in field[:-1]:
            inner = owner.get(name, {})
            if not isinstance(inner, Mapping):
                fault = Fault(("native", name), "model_type", "It should be an object")
                raise InvalidRequest("The native fields have faults; see errors.", [fault])
            owner[name] = dict(inner)
            owner = owner[name]
        if field[-1] in owner and owner[field[-1]] != value:
            raise _conflict(place, self._places.get(field, ("native", *field)))
        owner[field[-1]] = value
        self._places[field] = place

    def learning_rate(self, multiplier: float) -> float:
        """Give so many times the rate that the spec has without one."""
        preset, method = self._fields.get("preset"), self._fields.get("method", "lora")
        try:
            return multiplier * _usual_learning_rate(preset, method)
        except (ValidationError, TypeError):  # unknown words, which the spec refuses where they stand
            return multiplier * _usual_learning_rate(None, "lora")

    def finished(self) -> JobSpec:
        """Give the spec, or tell what is wrong where the client said it."""
        try:
            return JobSpec.model_validate(self._fields)
        except ValidationError as error:
            raise InvalidSpec([self._told(fault) for fault in faults_of(error, JobSpec)]) from error

    def finished_as_series(self, varied: Mapping[str, Any]) -> SweepSpec:
        """Give the series that varies the spec, or tell what is wrong; likewise."""
        for field in (("alpha",), ("training", "seed")):
            if (place := self._places.get(field)) is not None:
                raise _conflict(place, ("sweep", field[-1]))
        if PARENT in (self._fields.get("metadata") or {}):
            fault = Fault(("metadata", PARENT), "reserved", "The jobs of a series name it there")
            raise InvalidRequest("The metadata has faults; see errors.", [fault])
        try:
            return SweepSpec.model_validate({**varied, "job": self._fields})
        except ValidationError as error:
            raise InvalidSpec([self._told_of(fault) for fault in faults_of(error, SweepSpec)]) from error

    def _told_of(self, fault: Fault) -> Fault:
        if fault.loc[:1] == ("job",):
            return self._told(Fault(fault.loc[1:], fault.code, fault.msg))
        return Fault(("sweep", *fault.loc), fault.code, fault.msg)

    def _told(self, fault: Fault) -> Fault:
        for field, place in self._places.items():
            if fault.loc[: len(field)] == field:
                return Fault((*place, *fault.loc[len(field) :]), fault.code, fault.msg)
        return Fault(("native", *fault.loc), fault.code, fault.msg)


def _put_hyperparameters(draft: _Draft, given: Hyperparameters, place: Place) -> None:
    for name, field in (("n_epochs", "epochs"), ("batch_size", "batch_size")):
        value = getattr(given, name)
        if value not in {"auto", None}:
            number = float(value) if field == "epochs" else value
            draft.put(("training", field), number, (*place, name))
    multiplier = given.learning_rate_multiplier
    if isinstance(multiplier, float):
        rate = draft.learning_rate(multiplier)
        draft.put(("training", "learning_rate"), rate, (*place, "learning_rate_multiplier"))
    if _ALPHA in given.model_fields_set:
        draft.put(("alpha",), given.neftune_alpha, (*place, _ALPHA))


def _put_alpha_of_metadata(draft: _Draft, metadata: Mapping[str, Any]) -> None:
    if _ALPHA not in metadata:
        return
    said = metadata[_ALPHA]
    if not isinstance(said, str) or not _DECIMAL.fullmatch(said):
        fault = Fault(("metadata", _ALPHA), "float_parsing", 'It should be a decimal number such as "5"')
        raise InvalidRequest("The metadata has faults; see errors.", [fault])
    draft.put(("alpha",), float(said), ("metadata", _ALPHA))


def _conflict(*places: Iterable[str]) -> ConflictingFields:
    said = [".".join(place) for place in places]
    told = f"It asks for something else than {said[1]}; say it once"
    fault = Fault(tuple(places[0]), "conflicting_fields", told)
    return ConflictingFields("Two places of the body ask for different things.", [fault])


@cache
def _usual_learning_rate(preset: str | None, method: str) -> float:
    given = {"model": "any/one", "dataset": "any", "preset": preset, "method": method}
    return JobSpec.model_validate(given).training.learning_rate
