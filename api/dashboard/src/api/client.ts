// The one place that asks the service. Paths, what they take and what they give are checked against its description.
import { ApiError, asProblem, isAbort, problemOf } from "./problem";
import type { paths } from "./types";
import { remembered, Store } from "../store";

type Verb = "get" | "post" | "put" | "patch" | "delete";
type Operation<P extends keyof paths, V extends Verb> = NonNullable<paths[P][V]>;
type PathsOf<V extends Verb> = {
  [P in keyof paths]: [NonNullable<paths[P][V]>] extends [never] ? never : P;
}[keyof paths];
type Part<O, N extends "path" | "query"> = O extends { parameters: { [K in N]?: infer T } } ? NonNullable<T> : never;
type Body<O> = O extends { requestBody?: { content: { "application/json": infer T } } } ? T : never;
type Json<R> = R extends { content: { "application/json": infer T } } ? T : never;
type Answer<O> = O extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202)]> : never;
type Given<N extends string, T> = [T] extends [never] ? object : object extends T ? { [K in N]?: T } : { [K in N]: T };
type Asked<O> = Given<"path", Part<O, "path">> & Given<"query", Part<O, "query">> & Given<"body", Body<O>> & Extra;
/** `ofAll`: an operator asks of all projects, whichever is looked into. */
type Extra = { signal?: AbortSignal; headers?: Record<string, string>; ofAll?: boolean };
type Arguments<O> = object extends Asked<O> ? [asked?: Asked<O>] : [asked: Asked<O>];
type Loose = Extra & { path?: Record<string, unknown>; query?: Record<string, unknown>; body?: unknown };

/** The project an operator looks into, for this tab; empty: that of the key. */
export const project = remembered("neftune.project", "", "session");
/** Counts how often the service said that nobody is signed in; the shell shows the sign-in then. */
export const lost = new Store(0);

const PATIENCE_S = 5;
const TRIES = 3;

function verb<V extends Verb>(name: V) {
  return <P extends PathsOf<V>>(path: P, ...[asked]: Arguments<Operation<P, V>>): Promise<Answer<Operation<P, V>>> =>
    ask(name, String(path), (asked ?? {}) as Loose) as Promise<Answer<Operation<P, V>>>;
}

/** `await api.get("/jobs/{job_id}", { path: { job_id } })`: the answer's JSON, or an ApiError. */
export const api = { get: verb("get"), post: verb("post"), put: verb("put"), patch: verb("patch"), delete: verb("delete") };

/** Headers that every request of the page carries: the project, and the one that other sites can't send. */
export function ownHeaders(ofAll = false): Record<string, string> {
  const chosen = ofAll ? "" : project.get();
  return { "Neftune-CSRF": "1", ...(chosen ? { "Neftune-Project": chosen } : {}) };
}

/** Fill a path's braces and add a query; what is null or undefined is left out. */
export function address(path: string, parts: Record<string, unknown> = {}, query: Record<string, unknown> = {}): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(parts[name])));
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== null && one !== undefined) asked.append(name, String(one));
  }
  const tail = asked.toString();
  return tail ? `${filled}?${tail}` : filled;
}

/** Send a request and give the answer as it is: for streams and files. Refusals are thrown as ApiError. */
export async function send(url: string, init: RequestInit = {}, ofAll = false): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { ...init, credentials: "same-origin", headers: { ...ownHeaders(ofAll), ...(init.headers as Record<string, string>) } });
  } catch (thrown) {
    if (isAbort(thrown)) throw thrown;
    throw asProblem(thrown);
  }
  if (answer.ok) return answer;
  const problem = problemOf(answer.status, await answer.text(), (name) => answer.headers.get(name));
  if (answer.status === 401) lost.change((times) => times + 1);
  throw problem;
}

async function ask(method: Verb, path: string, asked: Loose): Promise<unknown> {
  const url = address(path, asked.path, asked.query);
  const init: RequestInit = { method: method.toUpperCase() };
  if (asked.signal) init.signal = asked.signal;
  if (asked.body === undefined) init.headers = { ...asked.headers };
  else {
    init.body = JSON.stringify(asked.body);
    init.headers = { "Content-Type": "application/json", ...asked.headers };
  }
  const answer = await patiently(method === "get", () => send(url, init, asked.ofAll));
  return answer.status === 204 ? undefined : answer.json();
}

/** Ask again where the service names a short time after which it may: only what changes nothing. */
async function patiently(harmless: boolean, once: () => Promise<Response>): Promise<Response> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await once();
    } catch (thrown) {
      const wait = thrown instanceof ApiError ? thrown.retryAfterS : null;
      if (!harmless || tries >= TRIES || wait === null || wait > PATIENCE_S) throw thrown;
      await new Promise((done) => setTimeout(done, wait * 1000));
    }
  }
}
