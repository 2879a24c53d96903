import { useEffect, useMemo } from "preact/hooks";
import { CurveSource, type Followed } from "./source";
import type { View } from "./view";

/**
 * The curves of some runs, for all charts of a screen: read, followed, and read finely where `view` looks closer.
 * Begins anew when it is about other runs or keys.
 */
export function useCurves(runs: readonly Followed[], keys: readonly string[], view: View): CurveSource {
  const about = `${runs.map((one) => one.id).join()} ${keys.join()}`;
  const source = useMemo(() => new CurveSource(runs, keys), [about]);
  useEffect(() => {
    source.start(view.x, view.range);
    return () => source.stop();
  }, [source]);
  const { x, range } = view;
  useEffect(() => source.look(x, range), [source, x, range?.[0], range?.[1]]);
  return source;
}
