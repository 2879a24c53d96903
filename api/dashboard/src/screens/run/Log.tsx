import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { address, send } from "../../api/client";
import { asProblem, isAbort, type ApiError } from "../../api/problem";
import { whileSeen } from "../../live/seen";
import { useQuery } from "../../router";
import { t } from "../../texts";
import { Card } from "../../ui/Page";
import { Failed, Loading } from "../../ui/States";
import { Download } from "./Download";
import type { PartProps } from "./index";
import { over } from "./moves";

const words = t.run.log;
const KEPT = 5000; // lines on the page; the whole is a file
const TAIL = 1000; // the most that the service begins with
const AGAIN_MS = 2000;
const DRAWN_MS = 200;

/** What the runner prints, as it prints it: followed to its end, and searched. */
export function Log({ job }: PartProps) {
  const { lines, problem, again } = useLog(job.id, !over(job));
  const [find, setFind] = useQuery("find");
  const [follow, setFollow] = useState(true);
  const box = useRef<HTMLPreElement>(null);
  const shown = useMemo(() => {
    const wanted = find.toLowerCase();
    return lines && (wanted ? lines.filter((line) => line.toLowerCase().includes(wanted)) : lines);
  }, [lines, find]);
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [shown, follow]);
  const whole = job.artifacts?.find((one) => one.name === "log");
  const scrolled = (): void => {
    const { scrollTop = 0, scrollHeight = 0, clientHeight = 0 } = box.current ?? {};
    const atEnd = scrollTop + clientHeight >= scrollHeight - 8;
    if (atEnd !== follow) setFollow(atEnd);
  };
  return (
    <Card title={words.title} actions={whole && <Download job={job.id} artifact={whole} />}>
      <div class="run-log-tools">
        <label>{words.find} <input type="search" value={find} onInput={(event) => setFind(event.currentTarget.value)} /></label>
        <label class="check"><input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} /> {words.follow}</label>
        {shown && lines && <span class="faint" role="status">{find ? words.found(shown.length, lines.length) : words.lines(lines.length)}</span>}
      </div>
      {problem ? (problem.status === 404 ? <p class="faint">{words.none}</p> : <Failed problem={problem} again={again} />) : !shown && <Loading />}
      {shown && (shown.length === 0
        ? <p class="faint">{find ? words.noneFound : words.nothing}</p>
        : <pre ref={box} class="run-log" tabIndex={0} role="log" aria-live="off" aria-label={words.title} onScroll={scrolled}>{shown.join("\n")}</pre>)}
    </Card>
  );
}

/** The last lines; of a run that goes on also what follows, begun anew where the line broke. */
function useLog(job: string, goesOn: boolean): { lines: string[] | undefined; problem: ApiError | undefined; again: () => void } {
  const [lines, setLines] = useState<string[]>();
  const [problem, setProblem] = useState<ApiError>();
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const read = async (signal: AbortSignal): Promise<void> => {
      try {
        const query = goesOn ? { follow: true, tail: TAIL } : { tail: TAIL };
        const answer = await send(address("/jobs/{job_id}/log", { job_id: job }, query), { signal });
        setProblem(undefined);
        await gathered(answer, signal, setLines);
      } catch (thrown) {
        if (isAbort(thrown) || signal.aborted) return;
        const fault = asProblem(thrown);
        if (!fault.offline) return setProblem(fault);
      }
      if (goesOn && !signal.aborted) setTimeout(() => signal.aborted || void read(signal), AGAIN_MS);
    };
    if (goesOn) return whileSeen((signal) => void read(signal));
    const given = new AbortController();
    void read(given.signal);
    return () => given.abort();
  }, [job, goesOn, turn]);
  return { lines, problem, again: () => setTurn(turn + 1) };
}

async function gathered(answer: Response, signal: AbortSignal, show: (lines: string[]) => void): Promise<void> {
  let lines: string[] = [];
  let open = "";
  let planned: ReturnType<typeof setTimeout> | undefined;
  const draw = (): void => {
    planned = undefined;
    if (!signal.aborted) show(open ? [...lines, open] : [...lines]);
  };
  if (!answer.body) return show([]);
  const reader = answer.body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (open + value).split("\n");
      open = parts.pop() ?? "";
      lines = [...lines, ...parts.map(lastOf)].slice(-KEPT);
      planned ??= setTimeout(draw, DRAWN_MS);
    }
  } finally {
    clearTimeout(planned);
    draw();
  }
}

/** What stays in sight of a line that was written over, as bars of progress are. */
function lastOf(line: string): string {
  return line.replace(/\r$/, "").split("\r").at(-1) ?? "";
}
