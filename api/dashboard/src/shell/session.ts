// Who is signed in: by a key that is typed, by the link of the start-up, or by the cookie from before.
import { api, lost, project } from "../api/client";
import { ApiError, asProblem } from "../api/problem";
import type { Session } from "../api/types";
import { rejoin } from "../live/line";
import { Store } from "../store";
import { t } from "../texts";

export type Signed = { state: "unknown" } | { state: "out"; why: string } | { state: "in"; who: Session };
export const session = new Store<Signed>({ state: "unknown" });

/** Find out at the start. The link's key stands behind `#`, so no server and no proxy has seen it. */
export async function begin(): Promise<void> {
  const key = new URLSearchParams(location.hash.slice(1)).get("key");
  if (key !== null) {
    history.replaceState(null, "", location.pathname + location.search); // gone from history and bookmarks
    return signIn(key);
  }
  try {
    session.set({ state: "in", who: await api.get("/session") });
  } catch (thrown) {
    session.set({ state: "out", why: said(asProblem(thrown), "") });
  }
}

export async function signIn(key: string): Promise<void> {
  project.set("");
  try {
    const who = await api.post("/session", { headers: { Authorization: `Bearer ${key.trim()}` } });
    session.set({ state: "in", who });
    rejoin();
  } catch (thrown) {
    session.set({ state: "out", why: said(asProblem(thrown), t.signIn.wrong) });
  }
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
