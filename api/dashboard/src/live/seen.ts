// What only needs to go on while somebody looks.

/**
 * Begin whenever the page comes into sight, and end (by the signal) when it goes out of it: another tab, another page that
 * one may come back from. HTTP/1.1 gives a host six connections for all tabs of a browser, so a line that
 * nobody looks at would keep others from loading anything. Gives back what ends it for good.
 */
export function whileSeen(begin: (signal: AbortSignal) => void): () => void {
  let given: AbortController | undefined;
  const look = (): void => {
    given?.abort();
    given = undefined;
    if (document.hidden) return;
    given = new AbortController();
    begin(given.signal);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    given?.abort();
  };
}
