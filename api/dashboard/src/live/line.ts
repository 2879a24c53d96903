// The one live connection of the page: all jobs that anything on it follows, resumed where it broke off.
//
// The service numbers what each job says. Every follower has a number of its own, the line begins at the lowest,
// and nobody hears a message twice: so a lost connection, or another follower, loses nothing and repeats nothing.
import { address, send } from "../api/client";
import { ApiError, isAbort } from "../api/problem";
import { Store } from "../store";
import { messages } from "./events";
import { whileSeen } from "./seen";

export type Told =
  | { kind: "metric"; job: string; seq: number; step: number; values: Record<string, number> }
  | { kind: "event"; job: string; seq: number; name: string; data: Record<string, unknown> }
  | { kind: "status"; job: string; seq: number; status: string; intent: string; attempt: number; error: unknown };

/** `off`: nothing is followed; `broken`: it will be tried again. */
export type LineState = "off" | "joining" | "live" | "broken";
export const lineState = new Store<LineState>("off");

/** As many as the service takes on one line; who comes later is told nothing, and must ask again and again. */
export const MOST_FOLLOWED = 20;

interface Follower {
  job: string;
  seq: number;
  hear: (told: Told[]) => void;
}

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const SILENCE_MS = 40_000; // the service says something every 15 s
const LONGEST_WAIT_MS = 15_000;
const followers = new Set<Follower>();
const over = new Map<string, number>(); // jobs that have said their last, and its number
let current: AbortController | undefined;
let joined = "";
let waitMs = 0;
let planned: ReturnType<typeof setTimeout> | undefined;

/**
 * Hear what a job says after a number (its `last_seq`, or 0 for everything), in order, several messages at once
 * when they come at once. Gives back what ends it.
 */
export function follow(job: string, afterSeq: number, hear: (told: Told[]) => void): () => void {
  const follower: Follower = { job, seq: afterSeq, hear };
  followers.add(follower);
  plan(0);
  return () => {
    followers.delete(follower);
    plan(0);
  };
}

/** Begin anew at once: another project, or the network is back. */
export function rejoin(): void {
  joined = "";
  over.clear();
  plan(0);
}

function plan(inMs: number): void {
  clearTimeout(planned);
  planned = setTimeout(() => void join(), inMs);
}

function places(): Map<string, number> {
  const found = new Map<string, number>();
  for (const { job, seq } of followers) {
    if ((over.get(job) ?? Infinity) <= seq) continue;
    if (found.size < MOST_FOLLOWED || found.has(job)) found.set(job, Math.min(seq, found.get(job) ?? seq));
  }
  return found;
}

async function join(): Promise<void> {
  if (document.hidden) return; // when it is seen again, it joins
  const wanted = places();
  const lowest = [...wanted].map(([job, seq]) => `${job}:${seq}`);
  if (current && !current.signal.aborted && within(wanted)) return;
  current?.abort();
  joined = "";
  if (wanted.size === 0) return lineState.set("off");
  const mine = (current = new AbortController());
  joined = [...wanted.keys()].sort().join();
  reached = new Map(wanted);
  lineState.set("joining");
  try {
    await listen([...wanted.keys()], lowest, mine);
  } catch (thrown) {
    if (mine !== current) return;
    if (!isAbort(thrown)) waitMs = Math.max(waitMs, ((thrown instanceof ApiError && thrown.retryAfterS) || 0) * 1000);
  }
  deliver(); // or jobs whose end was the last thing said would seem unfinished
  if (mine !== current) return; // another took its place
  current = undefined;
  joined = "";
  const unfinished = places().size > 0;
  lineState.set(unfinished ? "broken" : "off");
  waitMs = Math.min(LONGEST_WAIT_MS, Math.max(500, waitMs * 2));
  if (unfinished) plan(waitMs * (0.75 + Math.random() / 2)); // not all pages at once
}

/** How far the line itself has come; who starts further behind needs a line that begins earlier. */
let reached = new Map<string, number>();

function within(wanted: Map<string, number>): boolean {
  if ([...wanted.keys()].sort().join() !== joined) return false;
  return [...wanted].every(([job, seq]) => seq >= (reached.get(job) ?? 0));
}

async function listen(jobs: string[], lowest: string[], mine: AbortController): Promise<void> {
  let silence: ReturnType<typeof setTimeout> | undefined;
  const alive = (): void => {
    clearTimeout(silence);
    silence = setTimeout(() => mine.abort(), SILENCE_MS);
  };
  alive();
  try {
    const answer = await send(address("/stream", {}, { jobs: jobs.join() }), {
      headers: { "Last-Event-ID": lowest.join() },
      signal: mine.signal,
    });
    lineState.set("live");
    if (!answer.body) return;
    for await (const message of messages(answer.body, alive)) {
      waitMs = 0;
      const told = understood(message.event, message.data, message.id);
      if (told) tell(told);
    }
  } finally {
    clearTimeout(silence);
  }
}

function understood(kind: string, data: string, id: string): Told | undefined {
  if (kind !== "metric" && kind !== "event" && kind !== "status") return undefined;
  const said = JSON.parse(data) as Record<string, unknown> & { job: string };
  const place = id.split(",").find((part) => part.startsWith(`${said.job}:`));
  return { ...said, kind, seq: Number(place?.slice(said.job.length + 1)) } as Told;
}

let heap: Told[] = [];

/** Hand on what came within one task in one go, so that a curve of thousands of points is drawn once. */
function tell(told: Told): void {
  reached.set(told.job, told.seq);
  if (told.kind === "status") {
    if (ENDED.has(told.status)) over.set(told.job, told.seq);
    else over.delete(told.job); // it was tried again
  }
  if (heap.push(told) === 1) setTimeout(deliver);
}

function deliver(): void {
  const told = heap;
  heap = [];
  if (told.length === 0) return; // it was handed on as the line ended
  for (const follower of [...followers]) {
    const theirs = told.filter((one) => one.job === follower.job && one.seq > follower.seq);
    if (theirs.length === 0) continue;
    follower.seq = theirs.at(-1)?.seq ?? follower.seq;
    follower.hear(theirs);
  }
}

/** Let go of the line, and know where it was. */
function rest(): void {
  const given = current;
  current = undefined;
  joined = "";
  clearTimeout(planned);
  given?.abort();
  lineState.set("off");
}

addEventListener("online", rejoin);
whileSeen((signal) => {
  plan(0);
  signal.addEventListener("abort", rest);
});
