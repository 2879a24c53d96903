import type { ComponentChildren } from "preact";
import type { ApiError } from "../api/problem";
import type { Loaded } from "../api/load";
import { t } from "../texts";
import { Button } from "./Button";

/** Nothing is there, and what could be. */
export function Empty({ title, text, children }: { title: string; text: string; children?: ComponentChildren }) {
  return (
    <div class="state empty">
      <h2>{title}</h2>
      <p>{text}</p>
      {children}
    </div>
  );
}

/** Something is on its way; shown only when it takes long enough to be noticed. */
export function Loading({ label = t.loading }: { label?: string }) {
  return <div class="state loading" role="status"><span class="bars" aria-hidden="true"><i /><i /><i /></span>{label}</div>;
}

/** It did not come: why, and how to try again. */
export function Failed({ problem, again, title = t.failed.title }: { problem: ApiError; again?: () => void; title?: string }) {
  return (
    <div class="state failed" role="alert">
      <h2>{title}</h2>
      <p>{problem.message}</p>
      {!problem.offline && <p class="faint"><code>{problem.code}</code>{problem.requestId && ` · ${t.failed.request(problem.requestId)}`}</p>}
      {again && <Button onClick={again}>{t.retry}</Button>}
    </div>
  );
}

/** The three states of what was asked for; an old answer stays in sight when the newest try failed. */
export function Shown<T>({ of, children }: { of: Loaded<T>; children: (value: T) => ComponentChildren }) {
  if (of.value === undefined) return of.problem ? <Failed problem={of.problem} again={of.again} /> : <Loading />;
  return (
    <>
      {of.problem && <p class="notice bad" role="status">{t.failed.stale} {of.problem.message} <Button kind="quiet" onClick={of.again}>{t.retry}</Button></p>}
      {children(of.value)}
    </>
  );
}
