import { figure } from "../../format";
import { t } from "../../texts";
import { Field } from "../../ui/Field";
import { Card } from "../../ui/Page";
import { pointsOf, RECIPES, recipeOf, valueOf } from "./draft";
import type { Form } from "./useForm";

const words = t.newRun;
const UNUSUAL = 15; // the most in the paper
const MOST = 100; // the most that is taken
const SCALE = [0, 5, 10, UNUSUAL];
const PRESETS = ["", "paper-alpaca", "paper-qlora"] as const;

/** How much noise, and how many runs. */
export function Recipe({ form }: { form: Form }) {
  const recipe = recipeOf(form.draft);
  return (
    <Card title={words.recipe.title}>
      <div class="new-run-recipes" role="radiogroup" aria-label={words.recipe.title}>
        {RECIPES.map((one) => (
          <label key={one} class={one === recipe ? "chosen" : ""}>
            <input type="radio" name="recipe" checked={one === recipe} onChange={() => form.put("recipe", one)} />
            <span><b>{words.recipe[one].title}</b> <span class="soft">{words.recipe[one].says}</span></span>
          </label>
        ))}
      </div>
      {(recipe === "paper" || recipe === "series") && <Preset form={form} none={recipe === "series"} />}
      {(recipe === "neftune" || recipe === "paper") && <Alpha form={form} />}
      {recipe === "series" && <Series form={form} />}
      <Means form={form} />
    </Card>
  );
}

function Preset({ form, none }: { form: Form; none: boolean }) {
  return (
    <Field label={words.preset} error={form.faults.by["preset"]}>
      {(its) => (
        <select {...its} value={form.draft["preset"] ?? (none ? "" : "paper-alpaca")} onChange={(event) => form.put("preset", event.currentTarget.value)}>
          {PRESETS.filter((one) => none || one !== "").map((one) => <option key={one} value={one}>{words.presets[one]}</option>)}
        </select>
      )}
    </Field>
  );
}

function Alpha({ form }: { form: Form }) {
  const alpha = valueOf(form.draft, "alpha");
  const put = (event: { currentTarget: { value: string } }): void => form.put("alpha", event.currentTarget.value);
  return (
    <Field label={words.alpha} hint={words.alphaHint} error={form.faults.by["alpha"]}>
      {(its) => (
        <span class="new-run-alpha">
          <input type="range" min="0" max={UNUSUAL} step="0.5" value={Math.min(UNUSUAL, Number(alpha) || 0)} onInput={put} aria-label={`${words.alpha}, 0–${UNUSUAL}`} list="new-run-paper" />
          <datalist id="new-run-paper"><option value="5" /><option value="10" /><option value="15" /></datalist>
          <input {...its} inputMode="decimal" value={alpha} onInput={put} autocomplete="off" />
          <span class="new-run-scale" aria-hidden="true">{SCALE.map((one) => <span key={one}>{one}</span>)}</span>
        </span>
      )}
    </Field>
  );
}

function Series({ form }: { form: Form }) {
  const put = (name: string) => (event: { currentTarget: { value: string } }) => form.put(name, event.currentTarget.value);
  return (
    <div class="new-run-parts">
      <Field label={words.alphas} hint={words.alphasHint} error={form.faults.by["alphas"]}>
        {(its) => <input {...its} value={valueOf(form.draft, "alphas")} onInput={put("alphas")} autocomplete="off" />}
      </Field>
      <Field label={words.seeds} hint={words.seedsHint} error={form.faults.by["seeds"]}>
        {(its) => <input {...its} value={valueOf(form.draft, "seeds")} onInput={put("seeds")} autocomplete="off" />}
      </Field>
      <Field label={words.strategy} error={form.faults.by["strategy"]}>
        {(its) => (
          <select {...its} value={valueOf(form.draft, "strategy")} onChange={put("strategy")}>
            {Object.entries(words.strategies).map(([name, says]) => <option key={name} value={name}>{says}</option>)}
          </select>
        )}
      </Field>
    </div>
  );
}

/** What the chosen alpha comes to on the chosen rows. Noise grows as alpha does, so one answer tells it of all. */
function Means({ form: { draft, rehearsal } }: { form: Form }) {
  const recipe = recipeOf(draft);
  const asked = recipe === "series" ? pointsOf(draft).alphas : [Number(valueOf(draft, "alpha"))];
  const alphas = asked.filter((one): one is number => typeof one === "number" && one > 0 && one <= MOST);
  if (recipe === "plain" || (recipe !== "series" && asked[0] === 0)) return <p class="soft">{words.meansNothing}</p>;
  const told = rehearsal?.spec as { alpha: number; dataset: string; model: string } | undefined;
  const noise = rehearsal?.estimates.noise;
  if (!noise || !told?.alpha || told.dataset !== draft["dataset"] || told.model !== draft["model"] || alphas.length === 0) return null;
  const percent = (alpha: number): string => `${figure((noise.ratio * alpha * 100) / told.alpha, 2)} %`;
  return <p class="soft" role="status">{words.means(alphas.map((one) => ({ alpha: one, percent: percent(one) })))}</p>;
}
