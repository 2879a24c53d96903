import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import type { Loaded } from "../../api/load";
import { t } from "../../texts";
import { Shown } from "../../ui/States";

/** The last answer there was, while another question is asked: what one looks at stays where it is. */
export function useKept<T>(of: Loaded<T>): Loaded<T> {
  const last = useRef<T | undefined>(undefined);
  if (of.value !== undefined) last.current = of.value;
  return { ...of, value: of.value ?? last.current };
}

/** It, faintly where it is the answer to an older question; `misfit`: what was asked is wrong, and marked above. */
export function Kept<T>({ of, misfit, children }: { of: Loaded<T>; misfit: boolean; children: (value: T) => ComponentChildren }) {
  const old = of.busy || misfit;
  return (
    <>
      {misfit && <p class="notice warn">{t.datasets.lens.misfit}</p>}
      <div class={old ? "stack datasets-kept old" : "stack datasets-kept"} aria-busy={of.busy}>
        {misfit ? of.value !== undefined && children(of.value) : <Shown of={of}>{children}</Shown>}
      </div>
    </>
  );
}
