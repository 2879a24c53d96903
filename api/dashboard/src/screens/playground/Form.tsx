import { useState } from "preact/hooks";
import type { ApiError } from "../../api/problem";
import { setQuery, useQuery } from "../../router";
import { t } from "../../texts";
import { Button } from "../../ui/Button";
import { Field } from "../../ui/Field";
import { Card } from "../../ui/Page";
import { CHOOSING, type How, type Question } from "./ask";
import type { Askable } from "./models";
import { Whom } from "./Whom";

const words = t.playground;
const LONGEST_KEPT = 500; // characters of a prompt that an address is still good for
const SEED_MAX = 2_147_483_647;

interface Props {
  askable: Askable;
  models: string[];
  onModels: (models: string[]) => void;
  onAsk: (question: Question) => void;
  onStop: (() => void) | undefined;
  /** What the service said to the last question, where it was refused. */
  problem: ApiError | undefined;
}

/** The question, to whom it goes, and how answers are drawn; all of it lives in the address. */
export function Form({ askable, models, onModels, onAsk, onStop, problem }: Props) {
  const [kept] = useQuery("prompt");
  const [prompt, setPrompt] = useState(kept);
  const [asked, setHow] = useQuery("how", "paper");
  const [seed, setSeed] = useQuery("seed", "42");
  const [tokens, setTokens] = useQuery("tokens", "256");
  const how: How = Object.hasOwn(CHOOSING, asked) ? (asked as How) : "paper";
  const keep = (): void => setQuery({ prompt: prompt.length <= LONGEST_KEPT ? prompt : null });
  const submit = (event: Event): void => {
    event.preventDefault();
    if (onStop || !prompt.trim()) return;
    keep();
    onAsk({ prompt, how, seed: Number(seed), tokens: Number(tokens) });
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) (event.currentTarget as HTMLTextAreaElement).form?.requestSubmit();
  };
  return (
    <Card>
      <form class="stack" onSubmit={submit}>
        <Whom models={models} askable={askable} onChange={onModels} />
        <Field label={words.prompt} hint={words.promptHint} error={problem?.at("/prompt")?.message}>
          {(its) => <textarea {...its} required rows={3} dir="auto" value={prompt} onInput={(event) => setPrompt(event.currentTarget.value)}
            onChange={keep} onKeyDown={press} />}
        </Field>
        <div class="playground-choosing">
          <Field label={words.choosing}>
            {(its) => (
              <select {...its} value={how} onChange={(event) => setHow(event.currentTarget.value)}>
                {(Object.keys(CHOOSING) as How[]).map((one) => <option key={one} value={one}>{words.how[one]}</option>)}
              </select>
            )}
          </Field>
          <Field label={words.seed} error={problem?.at("/seed")?.message}>
            {(its) => <input {...its} type="number" required min={0} max={SEED_MAX} value={seed} onChange={(event) => setSeed(event.currentTarget.value)} />}
          </Field>
          <Field label={words.tokens} error={problem?.at("/max_new_tokens")?.message}>
            {(its) => <input {...its} type="number" required min={1} max={8192} value={tokens} onChange={(event) => setTokens(event.currentTarget.value)} />}
          </Field>
          <div class="actions">
            {/* Two buttons, and not one that becomes another under the press: that would ask again. */}
            {onStop
              ? <Button key="stop" kind="danger" onClick={onStop}>{words.stopAll}</Button>
              : <Button key="ask" kind="primary" type="submit">{words.ask}</Button>}
          </div>
        </div>
      </form>
    </Card>
  );
}
