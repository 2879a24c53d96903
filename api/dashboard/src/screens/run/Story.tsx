import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/client";
import { asProblem, isAbort, type ApiError } from "../../api/problem";
import type { components } from "../../api/types";
import { figure, moment, whole } from "../../format";
import { t } from "../../texts";
import { Badge } from "../../ui/Badge";
import { Card } from "../../ui/Page";
import { Failed, Loading } from "../../ui/States";
import type { PartProps } from "./index";
import { Tree } from "./Tree";

const words = t.run.story;
type Event = components["schemas"]["EventRead"];
const FOLDED = "checkpoint.committed";
const BAD = new Set(["job.failed", "run.lost", "checkpoint.corrupt", "checkpoint.refused", "checkpoint.no_room", "rewound"]);

/** What happened, in its order; with it how the noise was found to be what was asked for. */
export function Story({ job, facts }: PartProps) {
  const { events, problem, again } = useEvents(job.id, facts);
  return (
    <Card title={words.title}>
      {problem && <Failed problem={problem} again={again} />}
      {!problem && events === undefined && <Loading />}
      {events?.length === 0 && <p class="faint">{words.nothing}</p>}
      {events && events.length > 0 && (
        <ol class="run-story">
          {folded(events).map(({ one, more }) => (
            <li key={one.seq} class={BAD.has(one.name) ? "bad" : one.name === "neftune.verified" ? "good" : ""}>
              <time dateTime={one.created_at} class="faint">{moment(one.created_at)}</time>
              <div>
                <p><b>{words.names[one.name] ?? one.name}</b>{more.length > 0 && ` × ${more.length + 1}`}{one.name === "neftune.verified" && <> <Badge tone="good">{one.name}</Badge></>}</p>
                {more.length > 0 ? <p class="soft">{words.stepsOf([one, ...more].map((each) => whole(Number(each.data["step"] ?? 0))).join(", "))}</p> : one.name === "neftune.verified" ? <Verified data={one.data} /> : Object.keys(one.data).length > 0 && <Told data={one.data} />}
              </div>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}

interface Fact {
  one: Event;
  /** Others of the same name that followed at once. */
  more: Event[];
}

/** Checkpoints come one after the other for hours: those between two other facts are one line. */
function folded(events: readonly Event[]): Fact[] {
  const facts: Fact[] = [];
  for (const one of events) {
    const last = facts.at(-1);
    if (last && one.name === FOLDED && last.one.name === FOLDED) last.more.push(one);
    else facts.push({ one, more: [] });
  }
  return facts;
}

/** All facts: read page by page, and on from the last one whenever another was heard. */
function useEvents(job: string, facts: number): { events: Event[] | undefined; problem: ApiError | undefined; again: () => void } {
  const [events, setEvents] = useState<Event[]>();
  const [problem, setProblem] = useState<ApiError>();
  const [turn, setTurn] = useState(0);
  const read = useRef<Event[]>([]);
  useEffect(() => {
    const given = new AbortController();
    const all = async (): Promise<void> => {
      let next: string | null = null;
      do {
        const after = read.current.at(-1)?.seq ?? 0;
        const page: { items: Event[]; next: string | null } = await api.get("/jobs/{job_id}/events", { path: { job_id: job }, query: { after, limit: 200 }, signal: given.signal });
        if (given.signal.aborted) return;
        read.current = [...read.current, ...page.items.filter((one) => one.seq > after)];
        next = page.next;
      } while (next !== null);
      setProblem(undefined);
      setEvents(read.current);
    };
    void all().catch((thrown: unknown) => isAbort(thrown) || setProblem(asProblem(thrown)));
    return () => given.abort();
  }, [job, facts, turn]);
  return { events, problem, again: () => setTurn(turn + 1) };
}

function Verified({ data }: { data: Record<string, unknown> }) {
  const number = (name: string): number | undefined => (typeof data[name] === "number" ? data[name] : undefined);
  const percent = (name: string): string => (number(name) === undefined ? t.none : `${figure((number(name) ?? 0) * 100, 3)} %`);
  const shown: [string, string][] = [
    [words.effective, figure(number("effective_alpha"))],
    [words.expected, figure(number("expected_alpha"))],
    [words.tolerance, percent("tolerance")],
    [words.error, percent("sampling_error")],
    [words.examples, whole(number("examples"))],
    [words.elements, whole(number("elements"))],
    [words.ratio, figure(number("noise_ratio"))],
    [words.pads, figure(number("noise_on_pads"))],
  ];
  return (
    <>
      <p class="soft">{words.verified}</p>
      <dl class="run-figures">{shown.map(([label, value]) => <div key={label}><dt>{label}</dt><dd>{value}</dd></div>)}</dl>
    </>
  );
}

function Told({ data }: { data: Record<string, unknown> }) {
  const told = Object.fromEntries(Object.entries(data).filter(([key, value]) => key !== "attempt" || value !== 0)); // before the first there is none
  const simple = Object.entries(told).every(([, value]) => typeof value !== "object" || value === null);
  if (simple && Object.keys(told).length <= 6) {
    return <p class="soft">{Object.entries(told).map(([key, value]) => `${key.replaceAll("_", " ")} ${typeof value === "number" ? figure(value) : String(value)}`).join(" · ")}</p>;
  }
  return <details><summary>{words.details}</summary><Tree value={data} /></details>;
}
