import { api } from "../../api/client";
import { useLoad } from "../../api/load";
import { ApiError } from "../../api/problem";
import type { Project, Queue, Ready, Session, Usage, Worker } from "../../api/types";
import { bytes, duration, whole } from "../../format";
import { session } from "../../shell/session";
import { useStore } from "../../store";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { Progress } from "../../ui/Progress";
import { Shown } from "../../ui/States";
import { Ago } from "../../ui/Text";

const words = t.settings.service;
const LOOK_S = 10;

/** Whether what the service leans on is there, what waits, and what this project has used. */
export function Health() {
  const signed = useStore(session);
  const ready = useLoad(readiness, [], LOOK_S);
  const queue = useLoad((signal) => api.get("/queue", { query: { limit: 1 }, signal }), [], LOOK_S);
  const workers = useLoad((signal) => api.get("/workers", { signal }), [], LOOK_S);
  return (
    <div class="columns">
      <Card title={words.parts}><Shown of={ready}>{(told) => <Parts told={told} />}</Shown></Card>
      <Card title={words.queue}>
        <Shown of={queue}>{(now) => <Waiting now={now} />}</Shown>
        {workers.value && <Workers all={workers.value.items} />}
      </Card>
      {signed.state === "in" && <Used who={signed.who} />}
    </div>
  );
}

/** A service that isn't ready says so with 503, and says what is missing all the same. */
async function readiness(signal: AbortSignal): Promise<Ready> {
  try {
    return await api.get("/readyz", { signal });
  } catch (thrown) {
    if (thrown instanceof ApiError && "dependencies" in thrown.document) return thrown.document as unknown as Ready;
    throw thrown;
  }
}

function Parts({ told }: { told: Ready }) {
  return (
    <ul class="settings-up">
      {Object.entries(told.dependencies).map(([name, state]) => (
        <li key={name}>
          <Badge tone={state === "up" ? "good" : "bad"}>{state === "up" ? words.up : words.down}</Badge>
          <span><b>{words.part[name]?.name ?? name}</b> <span class="soft">{words.part[name]?.says}</span></span>
        </li>
      ))}
    </ul>
  );
}

function Waiting({ now }: { now: Queue }) {
  return (
    <dl class="settings-figures">
      <div><dt>{t.status["queued"]}</dt><dd>{whole(now.queued)}</dd></div>
      <div><dt>{t.status["running"]}</dt><dd>{whole(now.running)}</dd></div>
      <div><dt>{words.oldest}</dt><dd><Ago time={now.oldest_queued_at} /></dd></div>
    </dl>
  );
}

/** Whether anybody is there to run what waits. */
function Workers({ all }: { all: readonly Worker[] }) {
  const alive = all.filter((one) => one.alive && one.kind === "train").length;
  return alive > 0 ? <p class="soft">{words.workers(alive)}</p> : <p class="notice warn">{words.noWorkers}</p>;
}

function Used({ who }: { who: Session }) {
  const used = useLoad((signal) => api.get("/usage", { signal }), []);
  const admin = who.scopes.includes("admin") || who.scopes.includes("operator");
  const quotas = useLoad(
    async (signal) => (admin ? api.get("/projects/{project_id}", { path: { project_id: who.project.id }, signal }) : null),
    [who.project.id],
  );
  return (
    <Card title={words.usage}>
      <Shown of={used}>{(told) => <Figures used={told} own={who.project.id} project={quotas.value ?? null} />}</Shown>
    </Card>
  );
}

function Figures({ used, own, project }: { used: Usage; own: string; project: Project | null }) {
  const mine = used.items.find((one) => one.project === own);
  const bound = project?.quotas.stored_bytes ?? null;
  return (
    <>
      <dl class="settings-figures">
        <div><dt>{words.stored}</dt><dd>{bytes(mine?.stored_bytes ?? 0)}</dd></div>
        <div><dt>{words.runTime}</dt><dd>{duration(mine?.run_seconds ?? 0)}</dd></div>
        <div><dt>{words.gpuTime}</dt><dd>{duration(mine?.gpu_seconds ?? 0)}</dd></div>
        <div><dt>{words.tokens}</dt><dd>{whole(mine?.tokens ?? 0)}</dd></div>
      </dl>
      {bound !== null && <Progress value={mine?.stored_bytes ?? 0} of={bound} label={words.storedOf(bytes(bound))} />}
      <p class="faint">{words.span(used.since, used.until)}{bound !== null && ` ${words.storedOf(bytes(bound))}`}</p>
    </>
  );
}
