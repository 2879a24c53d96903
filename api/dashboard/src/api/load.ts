// Asking for what a part of a screen shows, with the three states that it then has.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, isAbort, type ApiError } from "./problem";

export interface Loaded<T> {
  /** The newest answer; stays while it is asked for again, also when that failed. */
  value: T | undefined;
  /** Why the newest try failed. */
  problem: ApiError | undefined;
  /** Whether a try is under way. */
  busy: boolean;
  /** Ask again, now. */
  again: () => void;
  /** Change what is shown, before or without asking. */
  put: (value: T) => void;
}

export const BACK_S = 5; // between looks whether the service is back

/**
 * Ask when the component appears, when one of `on` changes, and every `everyS` seconds while the tab is seen, which may
 * depend on what was answered; also until there is an answer, where the service does not give any.
 * What was asked is given up when the component goes.
 */
export function useLoad<T>(
  ask: (signal: AbortSignal) => Promise<T>, on: readonly unknown[], everyS?: number | ((value: T) => number | undefined),
): Loaded<T> {
  const [shown, setShown] = useState<{ value?: T; problem?: ApiError; busy: boolean }>({ busy: true });
  const [turn, setTurn] = useState(0);
  const asking = useRef({ ask, everyS });
  asking.current = { ask, everyS };

  useEffect(() => setShown({ busy: true }), on); // another question: the old answer is none

  useEffect(() => {
    const given = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let usual = typeof everyS === "number" ? everyS : undefined;
    const once = async (): Promise<void> => {
      const { ask, everyS } = asking.current;
      let pause = usual;
      try {
        const value = await ask(given.signal);
        if (typeof everyS === "function") pause = usual = everyS(value);
        if (!given.signal.aborted) setShown((before) => ({ value: everyS ? kept(before.value, value) : value, busy: false }));
      } catch (thrown) {
        if (given.signal.aborted || isAbort(thrown)) return;
        const problem = asProblem(thrown);
        if (problem.away) pause = Math.min(usual ?? BACK_S, Math.max(1, problem.retryAfterS ?? BACK_S));
        setShown((before) => ({ ...before, problem, busy: false }));
      }
      if (pause && !given.signal.aborted) timer = setTimeout(seen, pause * 1000);
    };
    const seen = (): void => {
      if (document.hidden) document.addEventListener("visibilitychange", seen, { once: true, signal: given.signal });
      else void once();
    };
    setShown((before) => ({ ...before, busy: true }));
    void once();
    return () => {
      given.abort();
      clearTimeout(timer);
    };
  }, [...on, turn]);

  const again = useCallback(() => setTurn((before) => before + 1), []);
  const put = useCallback((value: T) => setShown({ value, busy: false }), []);
  return { value: shown.value, problem: shown.problem, busy: shown.busy, again, put };
}

/** The old answer where the new one says the same: what is made of it need not be made again. */
function kept<T>(before: T | undefined, now: T): T {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(now) ? before : now;
}
