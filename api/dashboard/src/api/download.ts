// Files to keep. A plain link would do, if an operator's choice of a project could stand in one.
import { project, send } from "./client";

/** Save what an address gives under a name; the browser streams it to disk, unless another project was chosen. */
export async function download(url: string, name: string): Promise<void> {
  if (!project.get()) return save(url, name);
  const kept = URL.createObjectURL(await (await send(url)).blob());
  save(kept, name);
  setTimeout(() => URL.revokeObjectURL(kept), 60_000); // the browser reads it a moment later
}

/** Save what the page itself has made: a picture, a table. */
export function keep(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  save(url, name);
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function save(url: string, name: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}
