// Which screen is where. Each is a folder of its own, loaded when it is first looked at.
import type { ComponentType } from "preact";
import { match } from "./router";
import { t } from "./texts";

export interface ScreenProps {
  /** What the names of the path stand for: `/runs/:job` gives `params.job`. */
  params: Record<string, string>;
}

export type Screen = ComponentType<ScreenProps>;

interface Entry {
  path: string;
  load: () => Promise<{ default: Screen }>;
}

export const SCREENS: readonly Entry[] = [
  { path: "/runs", load: () => import("./screens/runs") },
  { path: "/runs/:job", load: () => import("./screens/run") },
  { path: "/datasets", load: () => import("./screens/datasets") },
  { path: "/datasets/:dataset", load: () => import("./screens/datasets") },
  { path: "/new", load: () => import("./screens/new-run") },
  { path: "/compare", load: () => import("./screens/compare") },
  { path: "/series", load: () => import("./screens/series") },
  { path: "/series/:sweep", load: () => import("./screens/series") },
  { path: "/playground", load: () => import("./screens/playground") },
  { path: "/settings", load: () => import("./screens/settings") },
];

/** What the navigation shows, with the key that leads there after `g`. */
export const NAVIGATION = [
  { to: "/runs", label: t.nav.runs, icon: "runs", key: "r" },
  { to: "/datasets", label: t.nav.datasets, icon: "datasets", key: "d" },
  { to: "/new", label: t.nav.newRun, icon: "plus", key: "n" },
  { to: "/compare", label: t.nav.compare, icon: "compare", key: "c" },
  { to: "/series", label: t.nav.series, icon: "series", key: "a" },
  { to: "/playground", label: t.nav.playground, icon: "chat", key: "p" },
  { to: "/settings", label: t.nav.settings, icon: "gear", key: "s" },
] as const;

export function find(path: string): { entry: Entry; params: Record<string, string> } | undefined {
  for (const entry of SCREENS) {
    const params = match(entry.path, path);
    if (params) return { entry, params };
  }
  return undefined;
}
