// A value that several parts of the page look at. Knows nothing of what it holds.
import { useEffect, useState } from "preact/hooks";

export class Store<T> {
  #value: T;
  readonly #watchers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const watcher of [...this.#watchers]) watcher(value);
  }

  change(by: (value: T) => T): void {
    this.set(by(this.#value));
  }

  watch(watcher: (value: T) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** Draw the component again whenever the store's value is another. */
export function useStore<T>(store: Store<T>): T {
  const [value, setValue] = useState(store.get());
  useEffect(() => {
    setValue(() => store.get()); // it may have changed between drawing and watching
    return store.watch((next) => setValue(() => next));
  }, [store]);
  return value;
}

/** A setting of this browser alone; where nothing can be kept it lives as long as the page. */
export function remembered(name: string, fallback: string, where: "local" | "session" = "local"): Store<string> {
  const kept = (): Storage => (where === "local" ? localStorage : sessionStorage);
  let value = fallback;
  try {
    value = kept().getItem(name) ?? fallback;
  } catch {
    // storage is switched off
  }
  const store = new Store(value);
  store.watch((next) => {
    try {
      kept().setItem(name, next);
    } catch {
      // storage is full or switched off
    }
  });
  return store;
}
