import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import type { DryRun, Worker } from "../../api/types";
import { bytes, duration, figure, whole } from "../../format";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { pointsOf, recipeOf, requestOf } from "./draft";
import type { Form } from "./useForm";

const words = t.newRun.readout;
type Memory = NonNullable<DryRun["estimates"]["memory"]>["devices"][number];

/** What it would take, as the service reckons it: asked anew with every change, creating nothing. */
export function ReadOut({ form }: { form: Form }) {
  const { rehearsal, rehearsing, problem, draft } = form;
  const placed = Object.keys(form.faults.by).length > 0;
  const state = !draft["model"] || !draft["dataset"] ? words.wait : rehearsing ? words.busy : placed ? words.faulty : problem ? problem.message : words.fine;
  return (
    <Card title={words.title}>
      <p class="soft" role="status">{state}</p>
      {rehearsal && <div class={rehearsing || problem ? "stack new-run-old" : "stack"}><Figures of={rehearsal} form={form} /></div>}
    </Card>
  );
}

function Figures({ of: told, form }: { of: DryRun; form: Form }) {
  const { plan, estimates } = told;
  const series = recipeOf(form.draft) === "series";
  const { runs } = requestOf(form.draft);
  const how = [estimates.tokens?.how, estimates.memory?.how, estimates.time?.how].filter(Boolean);
  return (
    <>
      <dl class="new-run-figures">
        {series && <Fact name={words.runs} value={whole(runs)} more={words.runsOf(runs / Math.max(1, pointsOf(form.draft).seeds.length), pointsOf(form.draft).seeds.length)} />}
        <Fact name={words.steps} value={whole(plan.total_steps)} more={words.perEpoch(whole(plan.steps_per_epoch))} />
        {estimates.tokens && <Fact name={words.tokens} value={whole(estimates.tokens.total)} more={estimates.tokens.trained_share === null ? "" : words.trained(`${figure(estimates.tokens.trained_share * 100, 3)} %`)} />}
        {estimates.time && <Fact name={words.time} value={duration(estimates.time.seconds)} more={series ? words.timeAll(duration(estimates.time.seconds * runs)) : ""} />}
      </dl>
      {estimates.memory && <Memories of={estimates.memory.devices} />}
      {estimates.unknown.length > 0 && <div><h3>{words.unknown}</h3><ul>{estimates.unknown.map((one) => <li key={one}>{one}</li>)}</ul></div>}
      {told.warnings.length > 0 && <div class="notice warn"><h3>{words.warnings}</h3><ul>{told.warnings.map((one) => <li key={one}>{one}</li>)}</ul></div>}
      {how.length > 0 && <details><summary>{words.how}</summary><ul class="soft">{how.map((one) => <li key={one}>{one}</li>)}</ul></details>}
    </>
  );
}

function Fact({ name, value, more }: { name: string; value: string; more: string }) {
  return <div><dt>{name}</dt><dd>{value}</dd>{more && <dd class="faint">{more}</dd>}</div>;
}

/** The memory of a step, against the GPUs that are there. */
function Memories({ of: devices }: { of: readonly Memory[] }) {
  const workers = useLoad((signal) => api.get("/workers", { signal }), []);
  const gpu = largest(workers.value?.items ?? []);
  const sorted = gpu ? devices : [...devices].sort((a, b) => Number(a.device === "cuda") - Number(b.device === "cuda"));
  return (
    <dl class="new-run-memory">
      {sorted.map((one) => (
        <div key={one.device}>
          <dt>{words.memory(one.device)}</dt>
          <dd><b>{bytes(one.total)}</b> {workers.value && <Fit of={one} gpu={gpu} />}</dd>
          <dd class="faint">{words.parts(bytes(one.weights), bytes(one.trained), bytes(one.activations))}</dd>
        </div>
      ))}
    </dl>
  );
}

type Gpu = Worker["gpus"][number];

/** The GPU with the most memory of those that could train. */
function largest(workers: readonly Worker[]): Gpu | undefined {
  const gpus = workers.filter((one) => one.alive && one.kind === "train").flatMap((one) => one.gpus);
  return gpus.reduce<Gpu | undefined>((most, one) => (!most || one.memory_total > most.memory_total ? one : most), undefined);
}

function Fit({ of: { device, total }, gpu }: { of: Memory; gpu: Gpu | undefined }) {
  if (device !== "cuda") return gpu ? null : <Badge tone="busy">{words.here}</Badge>;
  if (!gpu) return <Badge>{words.noGpu}</Badge>;
  const room = bytes(gpu.memory_total);
  return total <= gpu.memory_total ? <Badge tone="good">{words.fits(gpu.name, room)}</Badge> : <Badge tone="bad">{words.tight(gpu.name, room)}</Badge>;
}
