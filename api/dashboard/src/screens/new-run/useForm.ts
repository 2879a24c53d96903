// What the form holds, and what the service says of it while it is filled in.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { api } from "../../api/client";
import { asProblem, isAbort, type ApiError } from "../../api/problem";
import type { DryRun, JobSpec, SweepDryRun, SweepSpec } from "../../api/types";
import { go, place, usePlace } from "../../router";
import { t } from "../../texts";
import { toast } from "../../ui/toast";
import { ofQuery, recipeOf, rehearsedOf, requestOf, toQuery, type Draft, type Request } from "./draft";
import { placed, type Placed } from "./faults";
import { submit } from "./submit";

const PAUSE_MS = 500;

export interface Form {
  draft: Draft;
  put: (name: string, value: string) => void;
  /** The newest answer to what is asked for; undefined while it can't be one. */
  rehearsal: DryRun | undefined;
  rehearsing: boolean;
  /** What the newest try came to, of a rehearsal or of a start. */
  problem: ApiError | undefined;
  faults: Placed;
  /** Why the newest try to start it failed. */
  failed: ApiError | undefined;
  start: () => void;
  starting: boolean;
  /** No answer has come to the start yet. */
  unanswered: boolean;
}

export function useForm(first: Draft): Form {
  const [draft, setDraft] = useState(first);
  const { rehearsal, rehearsing, refused } = useRehearsal(draft);
  const { start, starting, unanswered, problem: failed } = useStart(draft);
  const problem = failed ?? refused;
  const { path, query } = usePlace();
  useEffect(() => {
    if (path !== "/new") return undefined; // one has gone on meanwhile
    const timer = setTimeout(() => {
      if (place.get().path !== "/new") return; // it started at this very moment: its page must not be taken away
      const wanted = toQuery(draft);
      if (wanted !== toQuery(ofQuery(query))) go(wanted ? `/new?${wanted}` : "/new", "replace");
    }, PAUSE_MS);
    return () => clearTimeout(timer);
  }, [draft, path, query]);
  const faults = useMemo(() => placed(problem, recipeOf(draft) === "series"), [problem, draft["recipe"]]);
  const put = (name: string, value: string): void => setDraft((before) => ({ ...before, [name]: value }));
  return { draft, put, rehearsal, rehearsing, problem, faults, failed, start, starting, unanswered };
}

/** Have it rehearsed when nothing was changed for a moment; an older question is given up. */
function useRehearsal(draft: Draft): { rehearsal: DryRun | undefined; rehearsing: boolean; refused: ApiError | undefined } {
  const [now, setNow] = useState<{ rehearsal?: DryRun; refused?: ApiError }>({});
  const [rehearsing, setRehearsing] = useState(false);
  const asked = rehearsedOf(draft);
  useEffect(() => {
    const given = new AbortController();
    if (!asked) return setNow({});
    setRehearsing(true);
    const ask = async (): Promise<void> => {
      try {
        setNow({ rehearsal: await rehearsed(asked, given.signal) });
        setRehearsing(false);
      } catch (thrown) {
        if (given.signal.aborted || isAbort(thrown)) return;
        const problem = asProblem(thrown);
        setNow((before) => ({ ...before, refused: problem }));
        if (problem.retryAfterS) timer = setTimeout(() => void ask(), problem.retryAfterS * 1000);
        else setRehearsing(false);
      }
    };
    let timer = setTimeout(() => void ask(), PAUSE_MS);
    return () => {
      clearTimeout(timer);
      given.abort();
    };
  }, [JSON.stringify(asked)]);
  return { rehearsal: now.rehearsal, rehearsing: rehearsing && asked !== undefined, refused: now.refused };
}

/** What the run would take; of a series, each of its runs. */
async function rehearsed({ to, body }: Request, signal: AbortSignal): Promise<DryRun> {
  const query = { dry_run: true };
  if (to === "/jobs") return (await api.post("/jobs", { body: body as unknown as JobSpec, query, signal })) as DryRun;
  return ((await api.post("/sweeps", { body: body as unknown as SweepSpec, query, signal })) as SweepDryRun).each;
}

function useStart(draft: Draft): Pick<Form, "start" | "starting" | "unanswered" | "problem"> {
  const [problem, setProblem] = useState<ApiError>();
  const [starting, setStarting] = useState(false);
  const [unanswered, setUnanswered] = useState(false);
  const busy = useRef(false); // the second click of a double click comes before anything is drawn
  useEffect(() => setProblem(undefined), [draft]);
  const begin = async (): Promise<void> => {
    if (busy.current) return;
    busy.current = true;
    setStarting(true);
    setProblem(undefined);
    const request = requestOf(draft);
    try {
      const made = await submit(request, () => setUnanswered(true));
      toast(request.to === "/sweeps" ? t.newRun.startedSeries : t.newRun.started);
      go(made);
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      busy.current = false;
      setStarting(false);
      setUnanswered(false);
    }
  };
  return { start: () => void begin(), starting, unanswered, problem };
}
