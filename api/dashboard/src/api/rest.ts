// The pages after the first of a list that is read bit by bit.
import { useEffect, useState } from "preact/hooks";
import { toastProblem } from "../ui/toast";
import type { Loaded } from "./load";

interface Listing<T> {
  items: T[];
  next: string | null;
}

interface Rest<T> {
  /** All that has been read so far. */
  items: readonly T[];
  /** Read one page more; undefined when there is none. */
  more: (() => void) | undefined;
  busy: boolean;
}

/** `useRest(firstPage, (cursor) => api.get("/jobs", { query: { cursor } }))`; begins anew when the first page is another. */
export function useRest<T>(first: Loaded<Listing<T>>, ask: (cursor: string) => Promise<Listing<T>>): Rest<T> {
  const [rest, setRest] = useState<Listing<T>>();
  const [busy, setBusy] = useState(false);
  useEffect(() => setRest(undefined), [first.value?.next]); // the same mark: the pages after it are the same
  const next = rest ? rest.next : first.value?.next;
  const more = async (cursor: string): Promise<void> => {
    setBusy(true);
    try {
      const page = await ask(cursor);
      setRest((before) => ({ items: [...(before?.items ?? []), ...page.items], next: page.next }));
    } catch (thrown) {
      toastProblem(thrown);
    } finally {
      setBusy(false);
    }
  };
  return { items: [...(first.value?.items ?? []), ...(rest?.items ?? [])], more: next ? () => void more(next) : undefined, busy };
}
