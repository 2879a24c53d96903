// A press of the button makes one thing, however often it is pressed and whatever becomes of the answer.
import { api } from "../../api/client";
import { ApiError } from "../../api/problem";
import type { JobSpec, SweepSpec } from "../../api/types";
import { remembered } from "../../store";
import type { Request } from "./draft";

const TRIES = 4;
const PAUSE_MS = 1500;

// What is being asked for, with its key: kept for this tab, so that also a reload goes on with the same.
const pending = remembered("neftune.submitting", "", "session");

/** Ask for a run or a series, again where no answer came; gives the place where it is looked at. */
export async function submit(request: Request, waiting: () => void): Promise<string> {
  const key = keyOf(JSON.stringify([request.to, request.body]));
  for (let tries = 1; ; tries += 1) {
    try {
      const place = await asked(request, key);
      pending.set("");
      return place;
    } catch (thrown) {
      const lost = thrown instanceof ApiError && (thrown.offline || thrown.status >= 500);
      if (thrown instanceof ApiError && thrown.code === "job_deleted") pending.set(""); // it was one, and is no more
      if (!lost || tries >= TRIES) throw thrown;
      waiting();
      await new Promise((done) => setTimeout(done, PAUSE_MS * tries));
    }
  }
}

/** The key of this very request: the one it had when it was asked before and not answered. */
function keyOf(what: string): string {
  const [key, before] = pending.get().split("\n", 2);
  if (key && before === what) return key;
  const fresh = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  pending.set(`${fresh}\n${what}`);
  return fresh;
}

async function asked({ to, body }: Request, key: string): Promise<string> {
  const headers = { "Idempotency-Key": key };
  // The service fills what is left out, which the types of what it gives don't say.
  if (to === "/sweeps") {
    const series = await api.post("/sweeps", { body: body as unknown as SweepSpec, headers });
    return `/series/${"id" in series ? series.id : ""}`;
  }
  const made = await api.post("/jobs", { body: body as unknown as JobSpec, headers });
  return `/runs/${"id" in made ? made.id : ""}`;
}
