// What models have answered in an evaluation, read from its files. Knows nothing of how it is shown.
import { send } from "./api/client";
import type { EvaluationDetail } from "./api/types";

export interface Said {
  output: string;
  /** What the row itself answers, where it has an answer. */
  reference: string | null;
}

/** By the prompt that was answered, in the order in which they were asked. */
export type Answers = ReadonlyMap<string, Said>;

interface AnswersOf {
  subject: string;
  variant: string;
  on: string;
  file: string;
}

const MOST_BYTES = 32_000_000;

/** The plain answers of the base or of what was measured; prompts of their own before training prompts. */
export async function answersOf(one: EvaluationDetail, subject: "base" | "checkpoint", signal: AbortSignal): Promise<Answers | undefined> {
  const plain = ((one.results?.["answers"] ?? []) as AnswersOf[]).filter((each) => each.variant === "plain");
  const on = plain.some((each) => each.on === "prompts") ? "prompts" : "train";
  const file = plain.find((each) => each.subject === subject && each.on === on)?.file;
  const artifact = file && one.artifacts.find((each) => each.name.endsWith(`/${file}`));
  if (!artifact || artifact.bytes > MOST_BYTES) return undefined;
  const told = (await (await send(`${artifact.url}?via=api`, { signal })).json()) as { instruction: string; output: string; reference: string | null }[];
  return new Map(told.map(({ instruction, output, reference }) => [instruction, { output, reference }]));
}
