import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Icon } from "../../ui/Icon";
import { Picker } from "../../ui/Picker";
import { byName, named, takenApart, useCheckpoints, type Askable } from "./models";

const words = t.playground;
export const MOST_ASKED = 3;

interface Props {
  models: readonly string[];
  askable: Askable;
  onChange: (models: string[]) => void;
}

/** Who is asked: up to three, each with the weights of its end or of a checkpoint. */
export function Whom({ models, askable, onChange }: Props) {
  const put = (place: number, model: string): void => onChange(models.map((one, index) => (index === place ? model : one)));
  const next = askable.choices.find((one) => !models.includes(one.value))?.value ?? askable.choices[0]?.value;
  return (
    <div class="playground-whom">
      {models.map((model, place) => (
        <One key={place} model={model} place={place} askable={askable} put={(to) => put(place, to)}
          drop={models.length > 1 ? () => onChange(models.filter((_, index) => index !== place)) : undefined} />
      ))}
      {models.length < MOST_ASKED && next && <Button onClick={() => onChange([...models, next])}><Icon name="plus" />{words.another}</Button>}
    </div>
  );
}

interface OneProps {
  model: string;
  place: number;
  askable: Askable;
  put: (model: string) => void;
  drop: (() => void) | undefined;
}

function One({ model, place, askable, put, drop }: OneProps) {
  const { id, step } = takenApart(model);
  const steps = useCheckpoints(id);
  const known = askable.choices.some((one) => one.value === id);
  const choices = known ? askable.choices : [{ value: id, label: named(id, askable) }, ...askable.choices];
  return (
    <div class="playground-one">
      <Field label={words.model(place + 1)}>
        {(its) => <Picker {...its} choices={choices} value={id} accept={byName} onPick={put} />}
      </Field>
      {drop && <Button kind="quiet" label={words.drop(place + 1)} onClick={drop}><Icon name="cross" /></Button>}
      {(steps.length > 0 || step) && (
        <select class="playground-weights" aria-label={words.weights(place + 1)} value={step}
          onChange={(event) => put(event.currentTarget.value ? `${id}:ckpt-step-${event.currentTarget.value}` : id)}>
          <option value="">{words.final}</option>
          {[...new Set([...(step ? [Number(step)] : []), ...steps])].map((one) => <option key={one} value={one}>{words.checkpoint(one)}</option>)}
        </select>
      )}
    </div>
  );
}
