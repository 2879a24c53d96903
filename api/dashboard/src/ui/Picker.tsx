// Choosing one of many by typing part of it. Knows texts and values, and nothing of what they are.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { t } from "../texts";
import "./picker.css";

export interface Choice {
  value: string;
  label: string;
  /** Further words: shown small, and searched too. */
  note?: string;
}

interface Props {
  choices: readonly Choice[];
  /** The value that is chosen now; left out where choosing adds to a list. */
  value?: string;
  onPick: (value: string) => void;
  /** What typed text stands for that is none of the choices, such as a whole id. */
  accept?: (typed: string) => Choice | undefined;
  placeholder?: string;
  /** What is said where nothing fits, if there is more to say than that. */
  none?: string | undefined;
  id?: string;
  "aria-describedby"?: string;
  "aria-invalid"?: true;
}

const MOST_SHOWN = 50;

/** An input with a list below it; arrows choose, Enter takes, Escape leaves all as it was. */
export function Picker({ choices, value = "", onPick, accept, placeholder, none, ...its }: Props) {
  const list = useId();
  const [typed, setTyped] = useState<string>(); // nothing: the list is closed
  const [at, setAt] = useState(0);
  const box = useRef<HTMLUListElement>(null);
  const open = typed !== undefined;
  const found = open ? matching(choices, typed, accept) : [];
  const chosen = choices.find((one) => one.value === value)?.label ?? value;
  useEffect(() => box.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at, open]);

  const search = (text: string): void => {
    setTyped(text);
    setAt(0);
  };
  const take = (choice: Choice | undefined): void => {
    if (!choice) return;
    setTyped(undefined);
    onPick(choice.value);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!open) search("");
      else setAt(Math.max(0, Math.min(Math.min(found.length, MOST_SHOWN) - 1, at + (event.key === "ArrowDown" ? 1 : -1))));
    } else if (event.key === "Enter" && open) take(found[at]);
    else if (event.key === "Escape" && open) setTyped(undefined);
    else return;
    event.preventDefault();
  };
  return (
    <div class="picker">
      <input {...its} type="text" role="combobox" autocomplete="off" spellcheck={false} aria-autocomplete="list" aria-expanded={open}
        aria-controls={list} {...(found[at] ? { "aria-activedescendant": `${list}-${at}` } : {})} placeholder={open && chosen ? chosen : placeholder}
        value={typed ?? chosen} onInput={(event) => search(event.currentTarget.value)} onClick={() => !open && search("")}
        onBlur={() => setTyped(undefined)} onKeyDown={press} />
      <ul ref={box} id={list} role="listbox" aria-label={t.picker.choices} hidden={!open || found.length === 0}>
        {found.slice(0, MOST_SHOWN).map((one, index) => (
          <li key={one.value} id={`${list}-${index}`} role="option" aria-selected={index === at}
            onMouseDown={(event) => event.preventDefault()} onClick={() => take(one)}>
            <span class="clip" dir="auto">{one.label}</span>
            {one.note && <span class="clip faint" dir="auto">{one.note}</span>}
          </li>
        ))}
      </ul>
      <p class="picker-count" role="status" hidden={!open || (found.length > 0 && found.length <= MOST_SHOWN)}>
        {found.length === 0 ? none ?? t.picker.none : t.picker.first(MOST_SHOWN, found.length)}
      </p>
    </div>
  );
}

/** Those in which every typed word occurs somewhere; first those whose label has it as a word of its own. */
function matching(choices: readonly Choice[], typed: string, accept: Props["accept"]): readonly Choice[] {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  const found = choices.filter((one) => {
    const text = `${one.label} ${one.note ?? ""} ${one.value}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const other = found.length === 0 ? accept?.(typed.trim()) : undefined;
  if (other) return [other];
  const missed = (one: Choice): number => {
    const own = new Set(one.label.toLowerCase().split(/\s+/));
    return words.filter((word) => !own.has(word)).length;
  };
  return words.length === 0 ? found : [...found].sort((a, b) => missed(a) - missed(b));
}
