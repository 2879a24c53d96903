// Who is signed in: by a key that is typed, by the link of the start-up, or by the cookie from before.
import { api, lost, project } from "../api/client";
import { BACK_S } from "../api/load";
import { ApiError, asProblem } from "../api/problem";
import type { Session } from "../api/types";
import { rejoin } from "../live/line";
import { Store } from "../store";
import { t } from "../texts";

export type Signed =
  | { state: "unknown" }
  | { state: "away"; problem: ApiError; again: () => void } // the service can't tell who one is
  | { state: "out"; why: string }
  | { state: "in"; who: Session };
export const session = new Store<Signed>({ state: "unknown" });

/** Find out at the start. The link's key stands behind `#`, so no server and no proxy has seen it. */
export async function begin(): Promise<void> {
  addEventListener("hashchange", () => {
    const key = keyInLink(); // the link was put into a tab that shows the page already
    if (key !== null) void arrive(key).then(rejoin);
  });
  await arrive(keyInLink());
}

/** Take the key out of the address: gone from history and bookmarks, too. */
function keyInLink(): string | null {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  project.set("");
  return key;
}

/** Who gets no answer is no stranger yet, and isn't asked for a key: the service is, until it answers. */
async function arrive(key: string | null): Promise<void> {
  try {
    session.set({ state: "in", who: await (key === null ? api.get("/session") : login(key)) });
  } catch (thrown) {
    const problem = asProblem(thrown);
    if (problem.away) return wait(key, problem);
    session.set({ state: "out", why: said(problem, key === null ? "" : t.signIn.wrong) });
  }
}

function wait(key: string | null, problem: ApiError): void {
  const again = (): void => {
    clearTimeout(timer);
    void arrive(key);
  };
  const timer = setTimeout(again, Math.max(1, problem.retryAfterS ?? BACK_S) * 1000);
  session.set({ state: "away", problem, again });
}

export async function signIn(key: string): Promise<void> {
  project.set("");
  try {
    session.set({ state: "in", who: await login(key) });
    rejoin();
  } catch (thrown) {
    session.set({ state: "out", why: said(asProblem(thrown), t.signIn.wrong) });
  }
}

function login(key: string): Promise<Session> {
  return api.post("/session", { headers: { Authorization: `Bearer ${key.trim()}` } });
}

export async function signOut(): Promise<void> {
  try {
    await api.delete("/session");
  } catch (thrown) {
    if (!(thrown instanceof ApiError) || thrown.status !== 401) throw thrown;
  }
  project.set("");
  session.set({ state: "out", why: "" });
}

/** Look into another project; an operator alone can. */
export async function choose(id: string): Promise<void> {
  project.set(id);
  session.set({ state: "in", who: await api.get("/session") });
  rejoin();
}

lost.watch(() => {
  if (session.get().state === "in") session.set({ state: "out", why: t.signIn.lost });
});

function said(problem: ApiError, refused: string): string {
  return problem.status === 401 ? refused : problem.message;
}
