// Files on their way to the service. They live beside the screens, so that an upload goes on wherever one looks meanwhile.
import { address, lost, ownHeaders, send as ask } from "../../api/client";
import { ApiError, problemOf } from "../../api/problem";
import type { Dataset } from "../../api/types";
import { session } from "../../shell/session";
import { Store } from "../../store";
import { t } from "../../texts";
import { toast, toastProblem } from "../../ui/toast";

const words = t.datasets.upload;

export const FORMS = ["auto", "messages", "sharegpt", "alpaca", "prompt_completion", "text"] as const;
export type Form = (typeof FORMS)[number];

export interface Upload {
  id: number;
  file: File;
  form: Form;
  /** Id of the project it was begun in; another one doesn't show it. */
  project: string;
  headers: Readonly<Record<string, string>>;
  /** `leaving`: given up when all was sent already; what comes of it is deleted. */
  state: "waiting" | "sending" | "leaving" | "done" | "failed";
  sent: number;
  beganAt: number;
  dataset?: Dataset;
  problem?: ApiError;
}

export const uploads = new Store<readonly Upload[]>([]);
/** Counts uploads that came to a dataset: lists ask again. */
export const arrived = new Store(0);

let last = 0;
let sending: { id: number; request: XMLHttpRequest } | undefined;

/** Id of the project that is looked at. */
export function here(): string {
  const signed = session.get();
  return signed.state === "in" ? signed.who.project.id : "";
}

// Whoever signs out takes what is theirs along; a login that was lost may be found again.
session.watch((signed) => {
  if (signed.state === "out" && signed.why === "") for (const one of uploads.get()) drop(one);
});

export function add(files: Iterable<File>, form: Form): void {
  const begun = [...files].map((file): Upload => ({
    id: (last += 1), file, form, project: here(), headers: ownHeaders(), state: "waiting", sent: 0, beganAt: 0,
  }));
  uploads.change((all) => [...begun, ...all]);
  next();
}

/**
 * Give it up, on its way or before; the service keeps nothing of a body that ends early. One that it has whole is
 * answered in a moment: an end of the line might come too late, so the answer is waited for, and its dataset deleted.
 */
export function cancel(upload: Upload): void {
  if (upload.state === "sending" && upload.sent >= upload.file.size) return change(upload.id, { state: "leaving" });
  drop(upload);
  toast(words.cancelled(upload.file.name));
}

async function left(upload: Upload, request: XMLHttpRequest): Promise<void> {
  try {
    const made = request.status === 201 ? (JSON.parse(request.responseText) as Dataset) : undefined;
    if (made) await ask(address("/datasets/{dataset_id}", { dataset_id: made.id }), { method: "DELETE", headers: upload.headers });
    toast(words.cancelled(upload.file.name));
  } catch (thrown) {
    toastProblem(thrown);
    arrived.change((count) => count + 1); // it is there, then
  }
}

function drop(upload: Upload): void {
  if (sending?.id === upload.id) sending.request.abort();
  else dismiss(upload);
}

export function again(upload: Upload): void {
  dismiss(upload);
  add([upload.file], upload.form);
}

export function dismiss(upload: Upload): void {
  uploads.change((all) => all.filter((one) => one.id !== upload.id));
}

// One after the other: the line is no faster for two, and the service takes only so many at once.
function next(): void {
  if (sending) return;
  const waiting = uploads.get().filter((one) => one.state === "waiting");
  const first = waiting.sort((a, b) => a.id - b.id)[0]; // in the order in which they were chosen
  if (!first) return removeEventListener("beforeunload", warn);
  addEventListener("beforeunload", warn);
  send(first);
}

function warn(event: Event): void {
  event.preventDefault(); // the browser asks whether to leave
}

// `fetch` tells nothing of how far a body is, so this one asks by XMLHttpRequest.
function send(upload: Upload): void {
  const request = new XMLHttpRequest();
  sending = { id: upload.id, request };
  change(upload.id, { state: "sending", beganAt: Date.now() });
  request.upload.onprogress = (event) => change(upload.id, { sent: event.loaded });
  request.upload.onload = () => change(upload.id, { sent: upload.file.size });
  request.onload = () => {
    if (stateOf(upload.id) !== "leaving") return end(upload.id, outcome(upload, request));
    dismiss(upload);
    end(upload.id, {});
    void left(upload, request);
  };
  request.onerror = () => {
    const whole = (uploads.get().find((one) => one.id === upload.id)?.sent ?? 0) >= upload.file.size;
    if (whole) arrived.change((count) => count + 1); // nobody knows what came of it but the list
    end(upload.id, { state: "failed", problem: new ApiError(0, "offline", whole ? words.brokenLate : words.broken) });
  };
  request.onabort = () => {
    dismiss(upload);
    end(upload.id, {});
  };
  request.open("POST", address("/datasets", {}, { name: upload.file.name, format: upload.form }));
  const headers = { ...upload.headers, "Content-Type": "application/octet-stream" };
  for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
  request.send(upload.file);
}

function stateOf(id: number): Upload["state"] | undefined {
  return uploads.get().find((one) => one.id === id)?.state;
}

function outcome(upload: Upload, request: XMLHttpRequest): Partial<Upload> {
  if (request.status === 201) {
    arrived.change((count) => count + 1);
    toast(words.doneSaid(upload.file.name));
    return { state: "done", dataset: JSON.parse(request.responseText) as Dataset };
  }
  if (request.status === 401) lost.change((times) => times + 1);
  return { state: "failed", problem: problemOf(request.status, request.responseText, (name) => request.getResponseHeader(name)) };
}

function end(id: number, what: Partial<Upload>): void {
  change(id, what);
  sending = undefined;
  next();
}

function change(id: number, what: Partial<Upload>): void {
  uploads.change((all) => all.map((one) => (one.id === id ? { ...one, ...what } : one)));
}
