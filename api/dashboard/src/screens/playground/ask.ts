// One question to one model: sent, and heard word by word. Knows nothing of how it is shown.
import { send } from "../../api/client";
import { ApiError, asProblem, isAbort } from "../../api/problem";
import { messages } from "../../live/events";
import { t } from "../../texts";

/** How tokens are chosen; `paper` is what the NEFTune paper compares models by. */
export const CHOOSING = {
  paper: { temperature: 0, repetition_penalty: 1.2 },
  greedy: { temperature: 0, repetition_penalty: 1 },
  chance: { temperature: 0.7, top_p: 0.9, repetition_penalty: 1 },
} as const;
export type How = keyof typeof CHOOSING;

export interface Question {
  prompt: string;
  how: How;
  seed: number;
  tokens: number;
}

export interface Answer {
  model: string;
  text: string;
  state: "waiting" | "speaking" | "whole" | "stopped" | "failed";
  /** Whether it has ended by itself, or by the bound. */
  ended?: "stop" | "length";
  tokens?: number;
  /** From its first word on: what comes before is the queue, and loading. */
  seconds?: number;
  problem?: ApiError;
  /** What it waits for, where the service has said so. */
  reason?: string;
}

const PATIENCE_MS = 600_000; // a job on the GPU, or a large model on its way, takes its time

export const unsaid = (model: string): Answer => ({ model, text: "", state: "waiting" });

/** Ask, and tell what changes; whatever goes wrong is part of the answer, and what was said stays. */
export async function hear(model: string, question: Question, signal: AbortSignal, tell: (change: Partial<Answer>) => void): Promise<void> {
  let text = "";
  let began = 0;
  try {
    const answer = await heard(model, question, signal, tell);
    for await (const { event, data } of messages(answer.body ?? new ReadableStream())) {
      const said = JSON.parse(data) as Said;
      if (event === "text") {
        began ||= performance.now();
        text += said.text;
        tell({ text, state: "speaking" });
      } else if (event === "answer") {
        const seconds = began ? (performance.now() - began) / 1000 : 0;
        return tell({ text: said.text, state: "whole", ended: said.finish_reason, tokens: said.usage.completion_tokens, seconds });
      } else if (event === "error") throw new ApiError(200, said.code, said.detail);
    }
    throw new ApiError(0, "broken_off", t.playground.brokenOff);
  } catch (thrown) {
    if (signal.aborted || isAbort(thrown)) tell({ state: "stopped" });
    else tell({ state: "failed", problem: asProblem(thrown) });
  }
}

/** Be given a turn. Where the service says when it may have one, wait and ask again: nothing was said yet. */
async function heard(model: string, question: Question, signal: AbortSignal, tell: (change: Partial<Answer>) => void): Promise<Response> {
  const body = JSON.stringify({
    model, prompt: question.prompt, seed: question.seed, max_new_tokens: question.tokens, stream: true, ...CHOOSING[question.how],
  });
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await send("/generate", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
    } catch (thrown) {
      if (!(thrown instanceof ApiError) || thrown.retryAfterS === null || Date.now() > until) throw thrown;
      tell({ reason: thrown.message });
      await rest(thrown.retryAfterS * 1000, signal);
    }
  }
}

function rest(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done, fail) => {
    const over = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(over); fail(signal.reason as Error); }, { once: true });
  });
}

interface Said {
  text: string;
  finish_reason: "stop" | "length";
  usage: { completion_tokens: number };
  code: string;
  detail: string;
}
