// A request as one types it elsewhere. Each form is a program that runs as it stands, with the key in the environment.
import type { Body, Json, Request } from "./draft";

export const FORMS = ["curl", "python", "sdk"] as const;
export type Form = (typeof FORMS)[number];

export function code(form: Form, request: Request, origin: string): string {
  if (form === "curl") return curl(request, origin);
  return form === "python" ? python(request, origin) : sdk(request, origin);
}

function curl({ to, body }: Request, origin: string): string {
  const spread = JSON.stringify(body, null, 2).replaceAll(/\[\n[\d\s,.eE+-]+\]/g, (list) => list.replaceAll(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]")); // numbers in a line
  const quoted = spread.replaceAll("'", String.raw`'\''`);
  return [
    `curl -sS ${origin}${to} \\`,
    `  -H "Authorization: Bearer $NEFTUNE_API_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${quoted}'`,
  ].join("\n");
}

function python({ to, body }: Request, origin: string): string {
  return `import os

import httpx

answer = httpx.post(
    "${origin}${to}",
    headers={"Authorization": "Bearer " + os.environ["NEFTUNE_API_KEY"]},
    json=${literal(body, 1)},
)
answer.raise_for_status()
print(answer.json()["id"])`;
}

function sdk({ to, body }: Request, origin: string): string {
  const head = `import os

from openai import OpenAI

client = OpenAI(
    base_url="${origin}/v1",
    api_key=os.environ["NEFTUNE_API_KEY"],
)`;
  if (to === "/jobs") return `${head}\njob = ${create(body, literal(body["alpha"] ?? 5), undefined, 0)}\nprint(job.id)`;
  const { job, alpha, seed } = body as { job: Body; alpha: readonly Json[]; seed: readonly Json[] };
  const alphas = [...new Set([0, ...alpha])];
  return `${head}
for seed in ${literal(seed)}:
    for alpha in ${literal(alphas)}:
        job = ${create(job, "alpha", "seed", 2)}
        print(job.id)`;
}

/** The call of the SDK: what it has no name for goes under `native`. */
function create(job: Body, alpha: string, seed: string | undefined, depth: number): string {
  const { model, dataset, alpha: _, ...native } = job;
  const file = typeof dataset === "string" ? dataset.replace(/^ds_/, "file-") : "";
  const lines = [
    `    model=${literal(model ?? "")},`,
    `    training_file=${literal(file)},`,
    ...(seed ? [`    seed=${seed},`] : []),
    "    method={",
    '        "type": "supervised",',
    `        "supervised": {"hyperparameters": {"neftune_alpha": ${alpha}}},`,
    "    },",
    ...(Object.keys(native).length > 0 ? [`    extra_body={"native": ${literal(native, 1)}},`] : []),
  ];
  return ["client.fine_tuning.jobs.create(", ...lines, ")"].join("\n").replaceAll("\n", `\n${"    ".repeat(depth)}`);
}

/** A value as Python writes it. */
function literal(value: Json, depth = 0): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value); // its escapes mean the same in Python
  if (Array.isArray(value)) return `[${value.map((one: Json) => literal(one)).join(", ")}]`;
  const inner = "    ".repeat(depth + 1);
  const lines = Object.entries(value).map(([name, one]) => `${inner}${JSON.stringify(name)}: ${literal(one, depth + 1)},\n`);
  return lines.length > 0 ? `{\n${lines.join("")}${"    ".repeat(depth)}}` : "{}";
}
