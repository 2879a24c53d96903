// What went wrong, whatever it was, as one kind of error: the service's problem documents, or no answer at all.
import { t } from "../texts";

/** A fault at a place of what was sent; `pointer` is a JSON pointer, such as `/training/epochs`. */
export interface Fault {
  pointer: string;
  code: string;
  message: string;
}

export class ApiError extends Error {
  override name = "ApiError";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly faults: readonly Fault[] = [],
    readonly requestId = "",
    readonly retryAfterS: number | null = null,
    /** Further members of the document, such as the counts of a dataset's faults. */
    readonly document: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }

  /** Whether there was no answer: the service stopped, or the network is gone. */
  get offline(): boolean {
    return this.status === 0;
  }

  /** Whether the same may be answered later: nothing did, or the service lacks what it leans on. */
  get away(): boolean {
    return this.offline || this.status === 502 || this.status === 503 || this.status === 504;
  }

  /** The first fault at a place, or below it. */
  at(pointer: string): Fault | undefined {
    return this.faults.find((one) => one.pointer === pointer || one.pointer.startsWith(`${pointer}/`));
  }
}

/** Read an answer that is not a success. For a caller without `Response`, such as an upload by XMLHttpRequest. */
export function problemOf(status: number, body: string, header: (name: string) => string | null): ApiError {
  const document = parsed(body);
  const wait = Number(header("retry-after") ?? Number.NaN);
  return new ApiError(
    status,
    text(document["code"]) || `http_${status}`,
    text(document["detail"]) || text(document["title"]) || t.failed.unexplained(status),
    faults(document["errors"]),
    text(document["instance"]) || (header("x-request-id") ?? ""),
    Number.isFinite(wait) ? wait : null,
    document,
  );
}

/** Whatever was thrown, as an error that can be shown. */
export function asProblem(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof TypeError) return new ApiError(0, "offline", t.failed.offline); // what fetch throws
  return new ApiError(0, "page", thrown instanceof Error ? thrown.message : String(thrown));
}

/** Whether something was given up on purpose, and nobody need hear of it. */
export function isAbort(thrown: unknown): boolean {
  return thrown instanceof DOMException && thrown.name === "AbortError";
}

function parsed(body: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // a proxy's page, or nothing
  }
  return {};
}

function faults(errors: unknown): Fault[] {
  if (!Array.isArray(errors)) return [];
  return errors.map((one: { loc?: (string | number)[]; code?: string; msg?: string }) => ({
    pointer: (one.loc ?? []).map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join(""),
    code: text(one.code),
    message: text(one.msg),
  }));
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
